// Tables of an application that gave @auth/drizzle-adapter a table of users of its
// own: people, with other names and ids than Auth.js's, and a role.
import * as my from 'drizzle-orm/mysql-core';
import * as pg from 'drizzle-orm/pg-core';
import * as lite from 'drizzle-orm/sqlite-core';

// tables are those of the adapter's documentation around usersTable. userId makes
// a column for its ids, and type those of the other kinds.
function tables(table, primaryKey, usersTable, userId, type) {
  const user = () => userId('userId').notNull().references(() => usersTable.id, { onDelete: 'cascade' });
  return {
    usersTable,
    accountsTable: table('account', {
      userId: user(), type: type.text('type').notNull(), provider: type.text('provider').notNull(),
      providerAccountId: type.text('providerAccountId').notNull(), refresh_token: type.long('refresh_token'), access_token: type.long('access_token'),
      expires_at: type.big('expires_at'), token_type: type.text('token_type'), scope: type.text('scope'), id_token: type.long('id_token'),
      session_state: type.text('session_state'),
    }, (t) => [primaryKey({ columns: [t.provider, t.providerAccountId] })]),
    sessionsTable: table('session', { sessionToken: type.text('sessionToken').primaryKey(), userId: user(), expires: type.time('expires').notNull() }),
    verificationTokensTable: table('verificationToken', {
      identifier: type.text('identifier').notNull(), token: type.text('token').notNull(), expires: type.time('expires').notNull(),
    }, (t) => [primaryKey({ columns: [t.identifier, t.token] })]),
    authenticatorsTable: table('authenticator', {
      credentialID: type.text('credentialID').notNull().unique(), userId: user(), providerAccountId: type.text('providerAccountId').notNull(),
      credentialPublicKey: type.text('credentialPublicKey').notNull(), counter: type.big('counter').notNull(),
      credentialDeviceType: type.text('credentialDeviceType').notNull(), credentialBackedUp: type.flag('credentialBackedUp').notNull(),
      transports: type.text('transports'),
    }, (t) => [primaryKey({ columns: [t.userId, t.credentialID] })]),
  };
}

const people = (table, id, type) => table('people', {
  id, name: type.text('full_name'), email: type.text('mail').unique(), emailVerified: type.time('mail_proved'), image: type.text('picture'),
  role: type.text('role').notNull().default('member'),
});

const pgTypes = {
  text: (name) => pg.text(name), long: (name) => pg.text(name), big: (name) => pg.bigint(name, { mode: 'number' }),
  time: (name) => pg.timestamp(name, { mode: 'date', withTimezone: true }), flag: (name) => pg.boolean(name),
};
export const postgresUUID = tables(pg.pgTable, pg.primaryKey, people(pg.pgTable, pg.uuid('person_id').primaryKey().defaultRandom(), pgTypes), pg.uuid, pgTypes);
export const postgresBigint = tables(pg.pgTable, pg.primaryKey, people(pg.pgTable, pg.bigserial('person_id', { mode: 'number' }).primaryKey(), pgTypes), pgTypes.big, pgTypes);

// The adapter does not let MySQL make ids.
const myTypes = {
  text: (name) => my.varchar(name, { length: 255 }), long: (name) => my.mediumtext(name), big: (name) => my.bigint(name, { mode: 'number' }),
  time: (name) => my.datetime(name, { mode: 'date', fsp: 3 }), flag: (name) => my.boolean(name),
};
const myID = (name) => my.char(name, { length: 36 });
export const mysql = tables(my.mysqlTable, my.primaryKey, people(my.mysqlTable, myID('person_id').primaryKey().$defaultFn(() => crypto.randomUUID()), myTypes), myID, myTypes);

const liteTypes = {
  text: (name) => lite.text(name), long: (name) => lite.text(name), big: (name) => lite.integer(name),
  time: (name) => lite.integer(name, { mode: 'timestamp_ms' }), flag: (name) => lite.integer(name, { mode: 'boolean' }),
};
export const sqlite = tables(lite.sqliteTable, lite.primaryKey, people(lite.sqliteTable, lite.integer('person_id').primaryKey({ autoIncrement: true }), liteTypes), liteTypes.big, liteTypes);
