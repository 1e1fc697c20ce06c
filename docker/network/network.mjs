// The AT Protocol side of a registry on one machine: a PLC directory and the reference PDS on loopback,
// with their state on disk, and the demo accounts. Prints one JSON line when everything answers.
//
//   node network.mjs --state DIR --plc-port N --pds-port N --accounts alice.test,bob.test
//     [--front-host NAME --front-port N --front-to N --front-folder DIR]   a name with TLS in front of the appview

import { randomBytes } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { MockDatabase, PlcServer } from '@did-plc/server'
import { PDS } from '@atproto/pds'
import { startFront } from './front.mjs'

const { values: options } = parseArgs({
  options: {
    state: { type: 'string' },
    'plc-port': { type: 'string', default: '2582' },
    'pds-port': { type: 'string', default: '2583' },
    accounts: { type: 'string', default: '' },
    'front-host': { type: 'string' },
    'front-port': { type: 'string' },
    'front-to': { type: 'string' },
    'front-folder': { type: 'string' },
  },
})
if (!options.state) {
  console.error('network.mjs: --state names the folder that keeps the network\'s data')
  process.exit(2)
}
const state = path.resolve(options.state)
const plcUrl = `http://localhost:${options['plc-port']}`
const pdsUrl = `http://localhost:${options['pds-port']}`
mkdirSync(state, { recursive: true, mode: 0o700 })

// Anybody may make an account here, so nobody but this machine may come: both servers listen on a port without naming
// an address, which would mean every interface.
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port, ...rest) {
  if (typeof port === 'number' && typeof rest[0] !== 'string') rest.unshift('127.0.0.1')
  return listen.call(this, port, ...rest)
}

if (options['front-host']) {
  await startFront({
    host: options['front-host'],
    port: Number(options['front-port']),
    to: Number(options['front-to']),
    folder: options['front-folder'],
  })
}

/** The directory's in-memory database, with every accepted operation appended to a file and read back at start. */
class DurableDirectory extends MockDatabase {
  constructor(file) {
    super()
    this.file = file
  }

  async load() {
    if (!existsSync(this.file)) return this
    for (const line of readFileSync(this.file, 'utf8').split('\n')) {
      // A line that was cut off by a kill was never answered.
      let entry
      try { entry = JSON.parse(line) } catch { continue }
      await super.validateAndAddOp(entry.did, entry.operation)
    }
    return this
  }

  async validateAndAddOp(did, operation) {
    await super.validateAndAddOp(did, operation)
    appendFileSync(this.file, JSON.stringify({ did, operation }) + '\n')
  }
}

/** What must stay the same between runs: the PDS's secrets. Made once. */
function secrets() {
  const file = path.join(state, 'secrets.json')
  if (!existsSync(file)) {
    const fresh = {
      jwtSecret: randomBytes(32).toString('hex'),
      dpopSecret: randomBytes(32).toString('hex'),
      adminPassword: randomBytes(16).toString('hex'),
      plcRotationKeyK256PrivateKeyHex: randomBytes(32).toString('hex'),
    }
    writeFileSync(file, JSON.stringify(fresh), { mode: 0o600 })
  }
  return JSON.parse(readFileSync(file, 'utf8'))
}

async function call(method, body, token) {
  const response = await fetch(`${pdsUrl}/xrpc/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  })
  const answer = await response.json()
  if (!response.ok) throw new Error(`${method}: ${answer.message ?? response.status}`)
  return answer
}

/** The demo accounts: made on the first run, remembered with their passwords afterwards. */
async function ensureAccounts(handles) {
  const file = path.join(state, 'accounts.json')
  const known = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : []
  for (const handle of handles) {
    if (known.some((account) => account.handle === handle)) continue
    const password = randomBytes(12).toString('base64url')
    const email = `${handle.replaceAll('.', '-')}@example.com`
    const session = await call('com.atproto.server.createAccount', { handle, email, password })
    const app = await call('com.atproto.server.createAppPassword', { name: 'docker' }, session.accessJwt)
    known.push({ handle, did: session.did, password, app_password: app.password })
    writeFileSync(`${file}.new`, JSON.stringify(known, null, 2), { mode: 0o600 })
    renameSync(`${file}.new`, file)
  }
  return known
}

const directory = await new DurableDirectory(path.join(state, 'plc.jsonl')).load()
const plc = PlcServer.create({ db: directory, port: Number(options['plc-port']), version: 'local' })
await plc.start()

mkdirSync(path.join(state, 'pds', 'blobs-temporary'), { recursive: true })
const pds = await PDS.fromEnv({
  port: Number(options['pds-port']),
  hostname: 'localhost',
  devMode: true,
  disableSsrfProtection: true,
  dataDirectory: path.join(state, 'pds'),
  blobstoreDiskLocation: path.join(state, 'pds', 'blobs'),
  blobstoreDiskTmpLocation: path.join(state, 'pds', 'blobs-temporary'),
  didPlcUrl: plcUrl,
  serviceHandleDomains: ['.test'],
  inviteRequired: false,
  bskyAppViewUrl: 'http://localhost:1',
  bskyAppViewDid: 'did:example:none',
  rateLimitsEnabled: false,
  serviceName: 'Local PDS',
  ...secrets(),
})
await pds.start()
const accounts = await ensureAccounts(options.accounts.split(',').filter(Boolean))

let stopping = false
async function stop() {
  if (stopping) return
  stopping = true
  await pds.destroy()
  await plc.destroy()
  process.exit(0)
}
process.on('SIGINT', stop)
process.on('SIGTERM', stop)

console.log(JSON.stringify({ plc: { url: plcUrl }, pds: { url: pdsUrl }, accounts }))
