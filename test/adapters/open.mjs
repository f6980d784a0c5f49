// The official adapters of Auth.js from npm, each on a real database.
//
// open(kind, address) returns { adapter, ddl, close }: the adapter, the
// statements that make its tables, and a function that ends its connections.
import { DrizzleAdapter } from '@auth/drizzle-adapter';
import PostgresAdapter from '@auth/pg-adapter';
import { createClient } from '@libsql/client';
import { drizzle as onSQLite } from 'drizzle-orm/libsql';
import { drizzle as onMySQL } from 'drizzle-orm/mysql2';
import { drizzle as onPostgres } from 'drizzle-orm/node-postgres';
import { getTableConfig as mysqlConfig } from 'drizzle-orm/mysql-core';
import { getTableConfig as postgresConfig } from 'drizzle-orm/pg-core';
import { getTableConfig as sqliteConfig } from 'drizzle-orm/sqlite-core';
import mysql from 'mysql2/promise';
import pg from 'pg';

import * as people from './people.mjs';
import { open as onPrisma } from './prisma.mjs';

// What the documentation of @auth/pg-adapter says to make; the package itself
// has no tables. It names neither a foreign key nor a unique column.
const postgresDDL = [
  'CREATE TABLE verification_token (identifier TEXT NOT NULL, expires TIMESTAMPTZ NOT NULL, token TEXT NOT NULL, PRIMARY KEY (identifier, token))',
  `CREATE TABLE accounts (id SERIAL, "userId" INTEGER NOT NULL, type VARCHAR(255) NOT NULL, provider VARCHAR(255) NOT NULL,
    "providerAccountId" VARCHAR(255) NOT NULL, refresh_token TEXT, access_token TEXT, expires_at BIGINT, id_token TEXT, scope TEXT,
    session_state TEXT, token_type TEXT, PRIMARY KEY (id))`,
  'CREATE TABLE sessions (id SERIAL, "userId" INTEGER NOT NULL, expires TIMESTAMPTZ NOT NULL, "sessionToken" VARCHAR(255) NOT NULL, PRIMARY KEY (id))',
  'CREATE TABLE users (id SERIAL, name VARCHAR(255), email VARCHAR(255), "emailVerified" TIMESTAMPTZ, image TEXT, PRIMARY KEY (id))',
];

// own are the tables that @auth/drizzle-adapter defines itself, in a file that it
// does not export.
async function own(file) {
  const { defineTables } = await import(new URL(`lib/${file}`, import.meta.resolve('@auth/drizzle-adapter')));
  return defineTables();
}

// ddl makes statements of Drizzle's definitions, so that tables cannot differ from
// what the adapter takes them to be.
function ddl(tables, config, quote) {
  const list = (columns) => columns.map((c) => quote(c.name)).join(', ');
  const preset = (c) => {
    if (c.default === undefined) return '';
    return typeof c.default === 'string' ? ` DEFAULT '${c.default}'` : ' DEFAULT gen_random_uuid()';
  };
  return Object.values(tables).map((table) => {
    const t = config(table);
    const parts = t.columns.map((c) => `${quote(c.name)} ${c.getSQLType()}${preset(c)}${c.primary ? ' PRIMARY KEY' : ''}${c.autoIncrement ? ' AUTOINCREMENT' : ''}${c.notNull ? ' NOT NULL' : ''}${c.isUnique ? ' UNIQUE' : ''}`);
    for (const key of t.primaryKeys) parts.push(`PRIMARY KEY (${list(key.columns)})`);
    for (const key of t.foreignKeys) {
      const { columns, foreignTable, foreignColumns } = key.reference();
      parts.push(`FOREIGN KEY (${list(columns)}) REFERENCES ${quote(config(foreignTable).name)} (${list(foreignColumns)}) ON DELETE ${key.onDelete}`);
    }
    return `CREATE TABLE ${quote(t.name)} (${parts.join(', ')})`;
  });
}

const double = (name) => `"${name}"`;
const backtick = (name) => `\`${name}\``;

function pool(address) {
  const p = new pg.Pool({ connectionString: address });
  p.on('error', () => {}); // the server may end an idle connection
  return p;
}

function drizzlePostgres(address, tables) {
  const db = pool(address);
  return { adapter: DrizzleAdapter(onPostgres(db), tables), ddl: ddl(tables, postgresConfig, double), close: () => db.end() };
}

function drizzleMySQL(address, tables) {
  const db = mysql.createPool(address);
  return { adapter: DrizzleAdapter(onMySQL(db), tables), ddl: ddl(tables, mysqlConfig, backtick), close: () => db.end() };
}

function drizzleSQLite(address, tables) {
  // Without a timeout a write fails at once while another program writes.
  const db = createClient({ url: `file:${address}`, timeout: 5000 });
  return { adapter: DrizzleAdapter(onSQLite(db), tables), ddl: ddl(tables, sqliteConfig, double), close: () => db.close() };
}

const kinds = {
  pg(address) {
    const db = pool(address);
    return { adapter: PostgresAdapter(db), ddl: postgresDDL, close: () => db.end() };
  },
  'drizzle-postgres': async (address) => drizzlePostgres(address, await own('pg.js')),
  'drizzle-mysql': async (address) => drizzleMySQL(address, await own('mysql.js')),
  'drizzle-sqlite': async (address) => drizzleSQLite(address, await own('sqlite.js')),
  'people-postgres-uuid': (address) => drizzlePostgres(address, people.postgresUUID),
  'people-postgres-bigint': (address) => drizzlePostgres(address, people.postgresBigint),
  'people-mysql': (address) => drizzleMySQL(address, people.mysql),
  'people-sqlite': (address) => drizzleSQLite(address, people.sqlite),
  'prisma-postgres': (address) => onPrisma('postgresql', address),
  'prisma-mysql': (address) => onPrisma('mysql', address),
  'prisma-sqlite': (address) => onPrisma('sqlite', address),
  'prisma-sqlite-plain': (address) => onPrisma('sqlite', address, true),
};

export async function open(kind, address) {
  return kinds[kind](address);
}
