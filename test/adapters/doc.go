// Package adapters tests Gatebook beside the official adapters of Auth.js from
// npm, on one database: @auth/pg-adapter, @auth/drizzle-adapter and
// @auth/prisma-adapter on PostgreSQL, MariaDB and SQLite. What one side writes
// the other reads and changes.
//
// A test asks for a place, a fresh database with the tables of one adapter, made
// as that adapter's documentation says, and starts that adapter in Node.js
// (server.mjs). The packages are in this folder's package-lock.json.
package adapters
