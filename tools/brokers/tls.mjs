// A throwaway certificate authority with a server's and a client's certificate, for tests of encrypted connections.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../lib/process.mjs'

async function openssl(args) {
  const { code, output } = await run('openssl', args, { timeoutMs: 30_000 })
  if (code !== 0) throw new Error(`openssl ${args[0]} failed:\n${output.trim()}`)
}

const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

export async function makeTls(folder) {
  mkdirSync(folder, { recursive: true })
  const file = (name) => join(folder, name)
  const [ca, caKey, extensions] = [file('ca.pem'), file('ca.key'), file('extensions.cnf')]
  await openssl(['req', '-x509', ...curve, '-days', '2', '-subj', '/CN=Throwaway authority', '-keyout', caKey, '-out', ca])
  writeFileSync(extensions, 'subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n')
  for (const name of ['server', 'client']) {
    const [key, request, cert] = [file(`${name}.key`), file(`${name}.csr`), file(`${name}.pem`)]
    await openssl(['req', ...curve, '-subj', `/CN=${name}`, '-keyout', key, '-out', request])
    const signing = ['-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-days', '2', '-extfile', extensions]
    await openssl(['x509', '-req', '-in', request, ...signing, '-out', cert])
  }
  return { ca, cert: file('server.pem'), key: file('server.key'), clientCert: file('client.pem'), clientKey: file('client.key') }
}
