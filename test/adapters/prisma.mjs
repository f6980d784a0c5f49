// @auth/prisma-adapter on Prisma's client, without the steps that a project
// takes at its build: the client is made from the models here when it is asked
// for, and Prisma's own engine makes the statements for the tables, except for
// MySQL, which its build for WebAssembly does not know.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import { PrismaAdapter } from '@auth/prisma-adapter';
import { PrismaLibSql } from '@prisma/adapter-libsql';
import { PrismaMariaDb } from '@prisma/adapter-mariadb';
import { PrismaPg } from '@prisma/adapter-pg';
import { getPrismaClient } from '@prisma/client/runtime/client';
import { bindMigrationAwareSqlAdapterFactory } from '@prisma/driver-adapter-utils';
import { buildAndSerializeParamGraph } from '@prisma/param-graph-builder';
import { get_dmmf as parse } from '@prisma/prisma-schema-wasm';

const require = createRequire(import.meta.url);

// models are what the documentation of Auth.js tells people to put into their
// schema. It differs by database: accounts and sessions have an id on MySQL and
// SQLite, and tokens are TEXT on MySQL. (Its text for MySQL is refused by Prisma;
// what it refuses is left out.) Plain models are those that the adapter itself is
// tested with.
function models(provider, plain) {
  const rowID = provider === 'postgresql' || plain ? '' : 'id String @id @default(cuid())';
  const token = provider === 'mysql' ? 'String? @db.Text' : 'String?';
  const stamps = plain ? '' : 'createdAt DateTime @default(now())\n  updatedAt DateTime @updatedAt';
  const user = 'user User @relation(fields: [userId], references: [id], onDelete: Cascade)';
  return `datasource db {
  provider = "${provider}"
}
model User {
  id String @id @default(cuid())
  name String?
  email String${provider === 'postgresql' || plain ? '' : '?'} @unique
  emailVerified DateTime?
  image String?
  accounts Account[]
  sessions Session[]
  authenticators Authenticator[]
  ${stamps}
}
model Account {
  ${rowID}
  userId String
  type String
  provider String
  providerAccountId String
  refresh_token ${token}
  access_token ${token}
  expires_at Int?
  token_type String?
  scope String?
  id_token ${token}
  session_state String?
  ${user}
  ${stamps}
  ${rowID ? '@@unique' : '@@id'}([provider, providerAccountId])
}
model Session {
  ${rowID}
  sessionToken String @unique
  userId String
  expires DateTime
  ${user}
  ${stamps}
}
model VerificationToken {
  identifier String
  token String ${plain ? '@unique' : ''}
  expires DateTime
  ${rowID ? '@@unique' : '@@id'}([identifier, token])
}
model Authenticator {
  ${plain ? 'id String @id @default(cuid())' : '@@id([userId, credentialID])'}
  credentialID String @unique
  userId String
  providerAccountId String
  credentialPublicKey String
  counter Int
  credentialDeviceType String
  credentialBackedUp Boolean
  transports String?
  ${user}
}
`;
}

// mysqlDDL is what `prisma migrate` makes of the models: VARCHAR(191), DATETIME(3)
// and INTEGER, in the database's own character set.
const stamps = 'createdAt DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), updatedAt DATETIME(3) NOT NULL';
const user = 'FOREIGN KEY (userId) REFERENCES `User` (id) ON DELETE CASCADE ON UPDATE CASCADE';
const mysqlDDL = [
  `CREATE TABLE \`User\` (id VARCHAR(191) NOT NULL PRIMARY KEY, name VARCHAR(191), email VARCHAR(191), emailVerified DATETIME(3), image VARCHAR(191),
    ${stamps}, UNIQUE INDEX User_email_key (email))`,
  `CREATE TABLE \`Account\` (id VARCHAR(191) NOT NULL PRIMARY KEY, userId VARCHAR(191) NOT NULL, type VARCHAR(191) NOT NULL,
    provider VARCHAR(191) NOT NULL, providerAccountId VARCHAR(191) NOT NULL, refresh_token TEXT, access_token TEXT, expires_at INTEGER,
    token_type VARCHAR(191), scope VARCHAR(191), id_token TEXT, session_state VARCHAR(191), ${stamps},
    UNIQUE INDEX Account_provider_providerAccountId_key (provider, providerAccountId), ${user})`,
  `CREATE TABLE \`Session\` (id VARCHAR(191) NOT NULL PRIMARY KEY, sessionToken VARCHAR(191) NOT NULL, userId VARCHAR(191) NOT NULL,
    expires DATETIME(3) NOT NULL, ${stamps}, UNIQUE INDEX Session_sessionToken_key (sessionToken), ${user})`,
  `CREATE TABLE \`VerificationToken\` (identifier VARCHAR(191) NOT NULL, token VARCHAR(191) NOT NULL, expires DATETIME(3) NOT NULL,
    UNIQUE INDEX VerificationToken_identifier_token_key (identifier, token))`,
  `CREATE TABLE \`Authenticator\` (credentialID VARCHAR(191) NOT NULL, userId VARCHAR(191) NOT NULL, providerAccountId VARCHAR(191) NOT NULL,
    credentialPublicKey VARCHAR(191) NOT NULL, counter INTEGER NOT NULL, credentialDeviceType VARCHAR(191) NOT NULL,
    credentialBackedUp BOOLEAN NOT NULL, transports VARCHAR(191), PRIMARY KEY (userId, credentialID),
    UNIQUE INDEX Authenticator_credentialID_key (credentialID), ${user})`,
];

// ddl asks Prisma's engine for migrations for the way from nothing to schema.
async function ddl(schema, drivers) {
  const file = fileURLToPath(import.meta.resolve('@prisma/schema-engine-wasm/schema_engine_bg'));
  const bindings = await import(file);
  const { instance } = await WebAssembly.instantiate(readFileSync(file.replace(/\.js$/, '.wasm')), { './schema_engine_bg.js': bindings });
  bindings.__wbg_set_wasm(instance.exports);
  instance.exports.__wbindgen_start();
  const files = [{ path: 'schema.prisma', content: schema }];
  const engine = await bindings.SchemaEngine.new({ datamodels: [['schema.prisma', schema]] }, () => {}, bindMigrationAwareSqlAdapterFactory(drivers));
  const { stdout } = await engine.diff({ from: { tag: 'empty' }, to: { tag: 'schemaDatamodel', files }, script: true, exitCode: null,
    shadowDatabaseUrl: null, filters: { externalTables: [], externalEnums: [] } });
  return stdout.split(/;\s*$/m).map((s) => s.replace(/^--.*$/gm, '').trim()).filter((s) => s);
}

// newClient makes the class that `prisma generate` writes into a file.
function newClient(provider, schema) {
  const dmmf = JSON.parse(parse(JSON.stringify({ prismaSchema: [['schema.prisma', schema]], noColor: true })));
  const runtime = `@prisma/client/runtime/query_compiler_small_bg.${provider}`;
  return getPrismaClient({
    runtimeDataModel: { models: Object.fromEntries(dmmf.datamodel.models.map(({ name, ...model }) => [name, model])), enums: {}, types: {} },
    previewFeatures: [], clientVersion: require('@prisma/client/package.json').version, engineVersion: '', activeProvider: provider,
    inlineSchema: schema, parameterizationSchema: buildAndSerializeParamGraph(dmmf),
    compilerWasm: {
      importName: './query_compiler_small_bg.js',
      getRuntime: () => import(`${runtime}.mjs`),
      getQueryCompilerWasmModule: async () => new WebAssembly.Module(Buffer.from((await import(`${runtime}.wasm-base64.mjs`)).wasm, 'base64')),
    },
  });
}

// open is the open of open.mjs; provider is Prisma's word for the database.
export async function open(provider, address, plain = false) {
  const drivers = {
    postgresql: () => new PrismaPg({ connectionString: address }),
    mysql: () => new PrismaMariaDb(address.replace(/^mysql:/, 'mariadb:')),
    sqlite: () => new PrismaLibSql({ url: `file:${address}`, timeout: 5000 }),
  }[provider]();
  const schema = models(provider, plain);
  const client = new (newClient(provider, schema))({ adapter: drivers });
  return {
    adapter: PrismaAdapter(client),
    ddl: provider === 'mysql' ? mysqlDDL : await ddl(schema, drivers),
    close: () => client.$disconnect(),
  };
}
