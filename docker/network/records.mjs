// Reads an account's whole repository from its host with the reference implementation, which checks every block, the tree
// and the signature, and prints its revision, its root and the CID of each record as JSON.
//
//   node records.mjs --plc URL --host URL --did DID

import { parseArgs } from 'node:util'
import { def, getAndParseByDef, readCarWithRoot, verifyRepo } from '@atproto/repo'

const { values: options } = parseArgs({
  options: Object.fromEntries(['plc', 'host', 'did'].map((name) => [name, { type: 'string' }])),
})

async function get(url) {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`)
  return response
}

const { verificationMethods } = await (await get(`${options.plc}/${options.did}/data`)).json()
const query = new URLSearchParams({ did: options.did })
const bytes = await (await get(`${options.host}/xrpc/com.atproto.sync.getRepo?${query}`)).arrayBuffer()
const car = await readCarWithRoot(new Uint8Array(bytes))
const verified = await verifyRepo(car.blocks, car.root, options.did, verificationMethods.atproto)
const { obj: commit } = await getAndParseByDef(car.blocks, car.root, def.commit)
const records = verified.creates.map((write) => [`${write.collection}/${write.rkey}`, write.cid.toString()])
console.log(
  JSON.stringify({
    rev: commit.rev,
    data: commit.data.toString(),
    records: Object.fromEntries(records),
  }),
)
