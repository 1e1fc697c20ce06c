// Proves the images of an account with the reference implementation's own tools: for every manifest record, that the
// account's key signed a repository which has it, and that the manifest's bytes hash to its digest. Writes a line of JSON
// for each: {"digest","rkey","repository","cid","key"}, or {"rkey","refused"}.
//
//   node prove.mjs --plc URL --pds URL --account DID

import { parseArgs } from 'node:util'
import { sha256 } from '@atproto/crypto'
import { getKey } from '@atproto/identity'
import { cidForRecord, verifyRecords } from '@atproto/repo'

const COLLECTION = 'io.atcr.manifest'

const { values: options } = parseArgs({
  options: Object.fromEntries(['plc', 'pds', 'account'].map((name) => [name, { type: 'string' }])),
})

async function get(url) {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`)
  return response
}

async function query(method, parameters) {
  return get(`${options.pds}/xrpc/${method}?${new URLSearchParams(parameters)}`)
}

const document = await (await get(`${options.plc}/${options.account}`)).json()
const key = getKey(document)

async function prove(rkey, listed) {
  const answer = await query('com.atproto.sync.getRecord', { did: options.account, collection: COLLECTION, rkey })
  const proof = new Uint8Array(await answer.arrayBuffer())
  const records = await verifyRecords(proof, options.account, key)
  const { record } = records.find((found) => found.collection === COLLECTION && found.rkey === rkey)
  const cid = (await cidForRecord(record)).toString()
  if (cid !== listed) throw new Error('the signed record is another than the one that is listed')
  const blob = await query('com.atproto.sync.getBlob', { did: options.account, cid: record.manifestBlob.ref.toString() })
  const hash = Buffer.from(await sha256(new Uint8Array(await blob.arrayBuffer()))).toString('hex')
  if (record.digest !== `sha256:${hash}`) throw new Error('the bytes do not hash to the digest')
  return { digest: record.digest, rkey, repository: record.repository, cid, key }
}

let cursor
do {
  const page = await (
    await query('com.atproto.repo.listRecords', {
      repo: options.account,
      collection: COLLECTION,
      limit: '100',
      ...(cursor && { cursor }),
    })
  ).json()
  for (const { uri, cid } of page.records) {
    const rkey = uri.split('/').at(-1)
    const line = await prove(rkey, cid).catch((error) => ({ rkey, refused: error.message }))
    console.log(JSON.stringify(line))
  }
  cursor = page.cursor
} while (cursor)
