// A name with TLS in front of the appview, as an operator's reverse proxy gives it one. The name and the authority exist for
// this process only: the PDS in it must be able to fetch the client's metadata there.

import dns from 'node:dns'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import path from 'node:path'
import tls from 'node:tls'

/** Serves `https://host:port` from `http://127.0.0.1:to`; `folder` holds cert.pem and key.pem. */
export function startFront({ host, port, to, folder }) {
  const [cert, key] = ['cert.pem', 'key.pem'].map((name) => readFileSync(path.join(folder, name), 'utf8'))
  tls.setDefaultCACertificates([...tls.getCACertificates('default'), cert])

  const lookup = dns.lookup
  dns.lookup = (name, options, callback) => {
    if (name !== host) return lookup(name, options, callback)
    const answer = typeof options === 'function' ? options : callback
    const address = { address: '127.0.0.1', family: 4 }
    process.nextTick(() => (options?.all ? answer(null, [address]) : answer(null, address.address, address.family)))
  }

  const server = https.createServer({ cert, key }, (incoming, outgoing) => {
    const forwarded = http.request(
      {
        host: '127.0.0.1',
        port: to,
        method: incoming.method,
        path: incoming.url,
        headers: { ...incoming.headers, 'x-forwarded-for': incoming.socket.remoteAddress },
      },
      (answer) => {
        outgoing.writeHead(answer.statusCode, answer.headers)
        answer.pipe(outgoing)
      },
    )
    forwarded.on('error', (error) => {
      outgoing.writeHead(502)
      outgoing.end(String(error))
    })
    incoming.pipe(forwarded)
  })
  return new Promise((resolve, reject) => {
    server.on('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
}
