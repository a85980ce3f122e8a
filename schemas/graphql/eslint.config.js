// The schema must explain itself and keep to Relay's rules for connections; the operations must fit it.
import graphql from '@graphql-eslint/eslint-plugin';

const parser = graphql.parser;
const project = { schema: '../contracts/schema.graphql', documents: 'operations/*.graphql' };
const languageOptions = { parser, parserOptions: { graphQLConfig: project } };
const plugins = { '@graphql-eslint': graphql };

export default [
  { ignores: ['node_modules/', 'dist/', 'client/', 'tests/', '*.js'] },
  {
    files: ['operations/*.graphql'],
    languageOptions,
    plugins,
    rules: {
      ...graphql.configs['flat/operations-recommended'].rules,
      // Things without an identity of their own (lanes, amounts) have no id to select.
      '@graphql-eslint/require-selections': 'off',
      // A file is a page of the Studio and holds the operations of that page, which share its fragments.
      '@graphql-eslint/no-unused-fragments': 'off',
      '@graphql-eslint/naming-convention': ['error', { OperationDefinition: 'PascalCase', FragmentDefinition: 'PascalCase' }],
    },
  },
];
