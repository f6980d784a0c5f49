package sqlstore_test

import (
	"database/sql"
	"math"
	"testing"
	"time"

	"github.com/gatebook/gatebook/adapter/adaptertest"
	"github.com/gatebook/gatebook/adapter/sqlstore"
)

// The tables of Auth.js's adapters as their makers make them; package
// test/adapters has them from npm.
const (
	drizzlePostgres = `
CREATE TABLE "user" ("id" text PRIMARY KEY NOT NULL, "name" text, "email" text UNIQUE, "emailVerified" timestamp, "image" text);
CREATE TABLE "account" ("userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE, "type" text NOT NULL, "provider" text NOT NULL,
	"providerAccountId" text NOT NULL, "refresh_token" text, "access_token" text, "expires_at" integer, "token_type" text, "scope" text,
	"id_token" text, "session_state" text, PRIMARY KEY ("provider", "providerAccountId"));
CREATE TABLE "session" ("sessionToken" text PRIMARY KEY NOT NULL, "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE,
	"expires" timestamp NOT NULL);
CREATE TABLE "verificationToken" ("identifier" text NOT NULL, "token" text NOT NULL, "expires" timestamp NOT NULL, PRIMARY KEY ("identifier", "token"));
CREATE TABLE "authenticator" ("credentialID" text NOT NULL UNIQUE, "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE,
	"providerAccountId" text NOT NULL, "credentialPublicKey" text NOT NULL, "counter" integer NOT NULL, "credentialDeviceType" text NOT NULL,
	"credentialBackedUp" boolean NOT NULL, "transports" text, PRIMARY KEY ("userId", "credentialID"));
`
	drizzleMySQL = `
CREATE TABLE user (id varchar(255) PRIMARY KEY NOT NULL, name varchar(255), email varchar(255) UNIQUE, emailVerified timestamp(3) NULL, image varchar(255));
CREATE TABLE account (userId varchar(255) NOT NULL, type varchar(255) NOT NULL, provider varchar(255) NOT NULL, providerAccountId varchar(255) NOT NULL,
	refresh_token varchar(255), access_token varchar(255), expires_at int, token_type varchar(255), scope varchar(255), id_token varchar(2048),
	session_state varchar(255), PRIMARY KEY (provider, providerAccountId), FOREIGN KEY (userId) REFERENCES user (id) ON DELETE CASCADE);
CREATE TABLE session (sessionToken varchar(255) PRIMARY KEY NOT NULL, userId varchar(255) NOT NULL, expires timestamp NOT NULL,
	FOREIGN KEY (userId) REFERENCES user (id) ON DELETE CASCADE);
CREATE TABLE verificationToken (identifier varchar(255) NOT NULL, token varchar(255) NOT NULL, expires timestamp NOT NULL, PRIMARY KEY (identifier, token));
CREATE TABLE authenticator (credentialID varchar(255) NOT NULL UNIQUE, userId varchar(255) NOT NULL, providerAccountId varchar(255) NOT NULL,
	credentialPublicKey varchar(255) NOT NULL, counter int NOT NULL, credentialDeviceType varchar(255) NOT NULL, credentialBackedUp boolean NOT NULL,
	transports varchar(255), PRIMARY KEY (userId, credentialID), FOREIGN KEY (userId) REFERENCES user (id) ON DELETE CASCADE);
`
	drizzleSQLite = `
CREATE TABLE "user" ("id" text PRIMARY KEY NOT NULL, "name" text, "email" text UNIQUE, "emailVerified" integer, "image" text);
CREATE TABLE "account" ("userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE, "type" text NOT NULL, "provider" text NOT NULL,
	"providerAccountId" text NOT NULL, "refresh_token" text, "access_token" text, "expires_at" integer, "token_type" text, "scope" text,
	"id_token" text, "session_state" text, PRIMARY KEY ("provider", "providerAccountId"));
CREATE TABLE "session" ("sessionToken" text PRIMARY KEY NOT NULL, "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE,
	"expires" integer NOT NULL);
CREATE TABLE "verificationToken" ("identifier" text NOT NULL, "token" text NOT NULL, "expires" integer NOT NULL, PRIMARY KEY ("identifier", "token"));
CREATE TABLE "authenticator" ("credentialID" text NOT NULL UNIQUE, "userId" text NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE,
	"providerAccountId" text NOT NULL, "credentialPublicKey" text NOT NULL, "counter" integer NOT NULL, "credentialDeviceType" text NOT NULL,
	"credentialBackedUp" integer NOT NULL, "transports" text, PRIMARY KEY ("userId", "credentialID"));
`
	authjsPostgres = `
CREATE TABLE verification_token (identifier TEXT NOT NULL, expires TIMESTAMPTZ NOT NULL, token TEXT NOT NULL, PRIMARY KEY (identifier, token));
CREATE TABLE accounts (id SERIAL, "userId" INTEGER NOT NULL, type VARCHAR(255) NOT NULL, provider VARCHAR(255) NOT NULL,
	"providerAccountId" VARCHAR(255) NOT NULL, refresh_token TEXT, access_token TEXT, expires_at BIGINT, id_token TEXT, scope TEXT,
	session_state TEXT, token_type TEXT, PRIMARY KEY (id));
CREATE TABLE sessions (id SERIAL, "userId" INTEGER NOT NULL, expires TIMESTAMPTZ NOT NULL, "sessionToken" VARCHAR(255) NOT NULL, PRIMARY KEY (id));
CREATE TABLE users (id SERIAL, name VARCHAR(255), email VARCHAR(255), "emailVerified" TIMESTAMPTZ, image TEXT, PRIMARY KEY (id));
`
	prismaPostgres = `
CREATE TABLE "User" ("id" TEXT NOT NULL PRIMARY KEY, "name" TEXT, "email" TEXT UNIQUE, "emailVerified" TIMESTAMP(3), "image" TEXT,
	"createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL);
CREATE TABLE "Account" ("userId" TEXT NOT NULL REFERENCES "User" ("id") ON DELETE CASCADE, "type" TEXT NOT NULL, "provider" TEXT NOT NULL,
	"providerAccountId" TEXT NOT NULL, "refresh_token" TEXT, "access_token" TEXT, "expires_at" INTEGER, "token_type" TEXT, "scope" TEXT,
	"id_token" TEXT, "session_state" TEXT, "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL,
	PRIMARY KEY ("provider", "providerAccountId"));
CREATE TABLE "Session" ("sessionToken" TEXT NOT NULL UNIQUE, "userId" TEXT NOT NULL REFERENCES "User" ("id") ON DELETE CASCADE,
	"expires" TIMESTAMP(3) NOT NULL, "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL);
CREATE TABLE "VerificationToken" ("identifier" TEXT NOT NULL, "token" TEXT NOT NULL, "expires" TIMESTAMP(3) NOT NULL, PRIMARY KEY ("identifier", "token"));
CREATE TABLE "Authenticator" ("credentialID" TEXT NOT NULL UNIQUE, "userId" TEXT NOT NULL REFERENCES "User" ("id") ON DELETE CASCADE,
	"providerAccountId" TEXT NOT NULL, "credentialPublicKey" TEXT NOT NULL, "counter" INTEGER NOT NULL, "credentialDeviceType" TEXT NOT NULL,
	"credentialBackedUp" BOOLEAN NOT NULL, "transports" TEXT, PRIMARY KEY ("userId", "credentialID"));
`
	prismaMySQL = `
CREATE TABLE User (id VARCHAR(191) NOT NULL PRIMARY KEY, name VARCHAR(191), email VARCHAR(191), emailVerified DATETIME(3), image VARCHAR(191),
	createdAt DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), updatedAt DATETIME(3) NOT NULL, UNIQUE INDEX User_email_key (email));
CREATE TABLE Account (id VARCHAR(191) NOT NULL PRIMARY KEY, userId VARCHAR(191) NOT NULL, type VARCHAR(191) NOT NULL,
	provider VARCHAR(191) NOT NULL, providerAccountId VARCHAR(191) NOT NULL, refresh_token TEXT, access_token TEXT, expires_at INTEGER,
	token_type VARCHAR(191), scope VARCHAR(191), id_token TEXT, session_state VARCHAR(191),
	createdAt DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), updatedAt DATETIME(3) NOT NULL,
	UNIQUE INDEX Account_provider_providerAccountId_key (provider, providerAccountId), FOREIGN KEY (userId) REFERENCES User (id) ON DELETE CASCADE);
CREATE TABLE Session (id VARCHAR(191) NOT NULL PRIMARY KEY, sessionToken VARCHAR(191) NOT NULL, userId VARCHAR(191) NOT NULL,
	expires DATETIME(3) NOT NULL, createdAt DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), updatedAt DATETIME(3) NOT NULL,
	UNIQUE INDEX Session_sessionToken_key (sessionToken), FOREIGN KEY (userId) REFERENCES User (id) ON DELETE CASCADE);
CREATE TABLE VerificationToken (identifier VARCHAR(191) NOT NULL, token VARCHAR(191) NOT NULL, expires DATETIME(3) NOT NULL,
	UNIQUE INDEX VerificationToken_identifier_token_key (identifier, token));
CREATE TABLE Authenticator (credentialID VARCHAR(191) NOT NULL, userId VARCHAR(191) NOT NULL, providerAccountId VARCHAR(191) NOT NULL,
	credentialPublicKey VARCHAR(191) NOT NULL, counter INTEGER NOT NULL, credentialDeviceType VARCHAR(191) NOT NULL,
	credentialBackedUp BOOLEAN NOT NULL, transports VARCHAR(191), PRIMARY KEY (userId, credentialID),
	UNIQUE INDEX Authenticator_credentialID_key (credentialID), FOREIGN KEY (userId) REFERENCES User (id) ON DELETE CASCADE);
`
	prismaSQLite = `
CREATE TABLE "User" ("id" TEXT NOT NULL PRIMARY KEY, "name" TEXT, "email" TEXT, "emailVerified" DATETIME, "image" TEXT,
	"createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" DATETIME NOT NULL);
CREATE TABLE "Account" ("id" TEXT NOT NULL PRIMARY KEY, "userId" TEXT NOT NULL, "type" TEXT NOT NULL, "provider" TEXT NOT NULL,
	"providerAccountId" TEXT NOT NULL, "refresh_token" TEXT, "access_token" TEXT, "expires_at" INTEGER, "token_type" TEXT, "scope" TEXT,
	"id_token" TEXT, "session_state" TEXT, "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" DATETIME NOT NULL,
	FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE "Session" ("id" TEXT NOT NULL PRIMARY KEY, "sessionToken" TEXT NOT NULL, "userId" TEXT NOT NULL, "expires" DATETIME NOT NULL,
	"createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" DATETIME NOT NULL,
	FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE "VerificationToken" ("identifier" TEXT NOT NULL, "token" TEXT NOT NULL, "expires" DATETIME NOT NULL);
CREATE TABLE "Authenticator" ("credentialID" TEXT NOT NULL, "userId" TEXT NOT NULL, "providerAccountId" TEXT NOT NULL,
	"credentialPublicKey" TEXT NOT NULL, "counter" INTEGER NOT NULL, "credentialDeviceType" TEXT NOT NULL, "credentialBackedUp" BOOLEAN NOT NULL,
	"transports" TEXT, PRIMARY KEY ("userId", "credentialID"), FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE CASCADE ON UPDATE CASCADE);
CREATE UNIQUE INDEX "User_email_key" ON "User" ("email");
CREATE UNIQUE INDEX "Account_provider_providerAccountId_key" ON "Account" ("provider", "providerAccountId");
CREATE UNIQUE INDEX "Session_sessionToken_key" ON "Session" ("sessionToken");
CREATE UNIQUE INDEX "VerificationToken_identifier_token_key" ON "VerificationToken" ("identifier", "token");
CREATE UNIQUE INDEX "Authenticator_credentialID_key" ON "Authenticator" ("credentialID");
`
)

// epoch is what a TIMESTAMP of MariaDB holds.
var epoch = adaptertest.Times{
	First: time.Date(1970, time.January, 1, 0, 0, 0, 1e6, time.UTC), Last: time.Date(2038, time.January, 19, 3, 14, 7, 999e6, time.UTC),
}

func whole(c adaptertest.Times) adaptertest.Times {
	c.Unit, c.First = time.Second, time.Date(1970, time.January, 1, 0, 0, 1, 0, time.UTC)
	return c
}

// TestShared runs the suite on the tables of Auth.js's adapters.
func TestShared(t *testing.T) {
	for _, test := range []struct {
		layout sqlstore.Layout
		ddl    string
		users  string
		opts   adaptertest.Options
	}{
		{layout: sqlstore.DrizzlePostgres, ddl: drizzlePostgres, users: "user", opts: adaptertest.Options{MaxCounter: math.MaxInt32}},
		{layout: sqlstore.DrizzleMySQL, ddl: drizzleMySQL, users: "user", opts: adaptertest.Options{
			EmailVerified: epoch, SessionExpires: whole(epoch), LinkExpires: whole(epoch), LooseKeys: true, MaxCounter: math.MaxInt32,
		}},
		{layout: sqlstore.DrizzleSQLite, ddl: drizzleSQLite, users: "user"},
		{layout: sqlstore.AuthJSPostgres, ddl: authjsPostgres, users: "users", opts: adaptertest.Options{IDs: adaptertest.IntegerIDs, NoPasskeys: true}},
		{layout: sqlstore.PrismaPostgres, ddl: prismaPostgres, users: "User", opts: adaptertest.Options{MaxCounter: math.MaxInt32}},
		{layout: sqlstore.PrismaMySQL, ddl: prismaMySQL, users: "User", opts: adaptertest.Options{LooseKeys: true, MaxCounter: math.MaxInt32}},
		{layout: sqlstore.PrismaSQLite, ddl: prismaSQLite, users: "User"},
	} {
		t.Run(test.layout.Name()+"/"+test.layout.Database(), func(t *testing.T) {
			suite(t, test.layout, &test.opts, test.users, func(t *testing.T, db *sql.DB) {
				t.Helper()
				exec(t, db, test.ddl)
			})
		})
	}
}
