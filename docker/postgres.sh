#!/usr/bin/env bash
# Starts PostgreSQL unless its volume is of another version, and gives its user the password of the secret volume.
set -euo pipefail

made_by=$(cat "$PGDATA/PG_VERSION" 2>/dev/null || true)
ours=$(postgres --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
if [ -n "$made_by" ] && [ "$made_by" != "$ours" ]; then
  echo "starterkit: the database volume is of PostgreSQL $made_by, this is $ours: start the stack with" \
    "POSTGRES_TAG=$made_by-trixie, \`make backup\`, \`docker compose down --volumes\`, then \`make restore\` with $ours" >&2
  exit 3
fi

# The secret volume may be a new one. Inside of this container no password is asked for.
renew_password() {
  until psql --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --command 'SELECT 1' >/dev/null 2>&1; do
    sleep 0.5
  done
  psql --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\set password `cat /run/stack/database`
ALTER ROLE CURRENT_USER PASSWORD :'password';
SQL
}
if [ -n "$made_by" ]; then renew_password & fi

exec docker-entrypoint.sh "$@"
