// Enters hosts into a relay's database, which has to be stopped: a relay takes no host on loopback by itself.
//
//     node relay-hosts.mjs DATABASE HOST:PORT...

import { DatabaseSync } from 'node:sqlite'

const [file, ...hosts] = process.argv.slice(2)
const database = new DatabaseSync(file)
// From the oldest event on: a relay without a position hears of a host's account only when it writes again.
const enter = database.prepare(`
  insert into host (created_at, updated_at, hostname, no_ssl, account_limit, trusted, status, last_seq, account_count)
  select datetime('now'), datetime('now'), ?1, 1, 1000, 1, 'active', 1, 0
  where not exists (select 1 from host where hostname = ?1)`)
for (const host of hosts) enter.run(host)
database.close()
