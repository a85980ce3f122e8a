// PostGraphile 5 on the tables of the board, for whoever asks. DATABASE_URL, PORT, CONNECTIONS.
import { createServer } from 'node:http';
import { postgraphile } from 'postgraphile';
import { grafserv } from 'postgraphile/grafserv/node';
import { makePgService } from 'postgraphile/adaptors/pg';
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber';
import { makeV4Preset } from 'postgraphile/presets/v4';

const preset = {
  // The names of version 4 are those that people know.
  extends: [PostGraphileAmberPreset, makeV4Preset({ simpleCollections: 'omit' })],
  pgServices: [
    makePgService({
      connectionString: process.env.DATABASE_URL,
      schemas: ['board_1'],
      poolConfig: { max: Number(process.env.CONNECTIONS) },
    }),
  ],
  grafserv: { graphqlPath: '/graphql', watch: false },
  grafast: { explain: false },
};

const server = createServer();
await postgraphile(preset).createServ(grafserv).addTo(server);
server.listen(Number(process.env.PORT), '127.0.0.1');
