// The schema alone. Descriptions on everything, and Relay's rules for connections.
import graphql from '@graphql-eslint/eslint-plugin';

export default [
  {
    files: ['**/schema.graphql'],
    languageOptions: { parser: graphql.parser, parserOptions: { graphQLConfig: { schema: 'schemas/contracts/schema.graphql' } } },
    plugins: { '@graphql-eslint': graphql },
    rules: {
      '@graphql-eslint/require-description': [
        'error',
        {
          types: true,
          FieldDefinition: true,
          InputValueDefinition: true,
          EnumValueDefinition: true,
          rootField: true,
          // async-graphql writes the built-in directives by itself.
          ignoredSelectors: ['[type=DirectiveDefinition] [type=InputValueDefinition]'],
        },
      ],
      '@graphql-eslint/require-deprecation-reason': 'error',
      '@graphql-eslint/relay-page-info': 'error',
      '@graphql-eslint/relay-edge-types': ['error', { withEdgeSuffix: true, shouldImplementNode: false, listTypeCanWrapOnlyEdgeType: false }],
      '@graphql-eslint/relay-connection-types': 'error',
      // Lists that only go one way (the log, a replay) take `first` and `after` alone.
      '@graphql-eslint/relay-arguments': ['error', { includeBoth: false }],
      '@graphql-eslint/unique-type-names': 'error',
      '@graphql-eslint/no-typename-prefix': 'off',
    },
  },
];
