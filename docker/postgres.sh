#!/usr/bin/env bash
# Starts PostgreSQL unless its volume is of another version. Its users get the passwords of the secret volumes: MLflow's,
# and the API's, which owns the database of the predictions and reaches no other.
set -euo pipefail

made_by=$(cat "$PGDATA/PG_VERSION" 2>/dev/null || true)
ours=$(postgres --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
if [ -n "$made_by" ] && [ "$made_by" != "$ours" ]; then
  echo "starterkit: the database volume is of PostgreSQL $made_by, this is $ours: start the stack with" \
    "POSTGRES_TAG=$made_by-trixie, \`make backup\`, \`docker compose down --volumes\`, then \`make restore\` with $ours" >&2
  exit 3
fi

# The secret volumes may be new ones. On its socket no password is asked for. While it makes its tables,
# PostgreSQL answers there alone, and is started again.
admit_users() {
  until pg_isready --quiet --host 127.0.0.1; do
    sleep 0.5
  done
  psql --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set ON_ERROR_STOP=1 <<'SQL'
\set password `cat /run/stack/database`
ALTER ROLE CURRENT_USER PASSWORD :'password';
SELECT 'CREATE ROLE predictions LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'predictions') \gexec
\set password `cat /run/log/KIT_FEEDBACK__PASSWORD`
ALTER ROLE predictions NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
SELECT 'CREATE DATABASE predictions OWNER predictions'
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'predictions') \gexec
SELECT format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', datname) FROM pg_database WHERE datallowconn \gexec
SQL
}
admit_users &

exec docker-entrypoint.sh "$@"
