// Checks with the reference implementation's own tools what our servers wrote: the hold's repository (CAR, commit
// signature, tree, every record's proof) and every record, the hold's and the account's, against the lexicons.
//
//   node verify.mjs --lexicons DIR --plc URL --hold URL --hold-did DID --pds URL --account DID [--expect-layers N]

import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { setTimeout as pause } from 'node:timers/promises'
import { Lexicons, jsonToLex } from '@atproto/lexicon'
import { cborToLexRecord, readCarWithRoot, verifyRepo } from '@atproto/repo'

const { values: options } = parseArgs({
  options: Object.fromEntries(
    ['lexicons', 'plc', 'hold', 'hold-did', 'pds', 'account', 'expect-layers'].map((name) => [name, { type: 'string' }]),
  ),
})

function* jsonFiles(folder) {
  for (const name of readdirSync(folder)) {
    const file = path.join(folder, name)
    if (statSync(file).isDirectory()) yield* jsonFiles(file)
    else if (name.endsWith('.json')) yield file
  }
}

async function get(url) {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`)
  return response
}

// Records of lexicons that are not ours.
const FOREIGN = new Set(['sh.tangled.actor.profile'])
const lexicons = new Lexicons()
for (const file of jsonFiles(options.lexicons)) lexicons.add(JSON.parse(readFileSync(file, 'utf8')))

/** The hold's key, from its own DID document. */
const document = await (await get(`${options.hold}/.well-known/did.json`)).json()
if (document.id !== options['hold-did']) throw new Error(`the hold calls itself ${document.id}`)
const method = document.verificationMethod.find((entry) => entry.id.endsWith('#atproto'))
const signingKey = `did:key:${method.publicKeyMultibase}`

/** The hold tells the world what it stored in its own time: look again until the layer records are there. */
async function holdRepository() {
  const wanted = Number(options['expect-layers'] ?? 0)
  for (let attempt = 0; ; attempt++) {
    const bytes = new Uint8Array(
      await (await get(`${options.hold}/xrpc/com.atproto.sync.getRepo?did=${encodeURIComponent(options['hold-did'])}`)).arrayBuffer(),
    )
    const car = await readCarWithRoot(bytes)
    const verified = await verifyRepo(car.blocks, car.root, options['hold-did'], signingKey)
    const layers = verified.creates.filter((write) => write.collection === 'io.atcr.hold.layer').length
    if (layers >= wanted) return { verified, blocks: car.blocks }
    if (attempt === 100) throw new Error(`${layers} layer records where ${wanted} were due`)
    await pause(100)
  }
}

const { verified, blocks } = await holdRepository()
let records = 0
for (const write of verified.creates) {
  if (!FOREIGN.has(write.collection)) lexicons.assertValidRecord(write.collection, cborToLexRecord(blocks.get(write.cid)))
  records++
}

for (const collection of ['io.atcr.manifest', 'io.atcr.tag', 'io.atcr.sailor.profile']) {
  const query = new URLSearchParams({ repo: options.account, collection, limit: '100' })
  const page = await (await get(`${options.pds}/xrpc/com.atproto.repo.listRecords?${query}`)).json()
  if (page.records.length === 0) throw new Error(`the account has no ${collection}`)
  for (const record of page.records) {
    lexicons.assertValidRecord(collection, jsonToLex(record.value))
    records++
  }
}
console.log(`verified the hold's repository at ${verified.commit.rev} and ${records} records`)
