// Certificates for clauses about encryption, made here: right ones, expired ones, ones for other hosts. Just enough of X.509, so that
// nothing has to be installed.

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

/** A certificate and its key, PEM. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}
/** Somebody who signs. */
export interface Authority extends Certificate {
  /** Signs a certificate for whoever is reached by these hosts; `expired`: it was valid until 2021. */
  issue(name: string, options?: { readonly hosts?: readonly string[]; readonly expired?: boolean }): Certificate
}

const tlv = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts)
  const length = content.length
  const head = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from([tag, ...head]), content])
}
const sequence = (...parts: readonly Uint8Array[]): Buffer => tlv(0x30, ...parts)
const whole = (value: number): Buffer => tlv(0x02, Buffer.from([value]))
const bits = (bytes: Uint8Array): Buffer => tlv(0x03, Buffer.from([0]), bytes)
const octets = (bytes: Uint8Array): Buffer => tlv(0x04, bytes)
const time = (text: string): Buffer => tlv(0x18, Buffer.from(text))
const oid = (hex: string): Buffer => tlv(0x06, Buffer.from(hex, 'hex'))
const yes = tlv(0x01, Buffer.from([0xff]))

const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'))
const commonName = (name: string): Buffer => sequence(tlv(0x31, sequence(oid('550403'), tlv(0x0c, Buffer.from(name)))))
const basicConstraints = sequence(oid('551d13'), yes, octets(sequence(yes)))
const altNames = (hosts: readonly string[]): Buffer => {
  const names = hosts.map((host) =>
    /^[\d.]+$/.test(host) ? tlv(0x87, Buffer.from(host.split('.').map(Number))) : tlv(0x82, Buffer.from(host)),
  )
  return sequence(oid('551d11'), octets(sequence(...names)))
}

let serials = 0

function certificate(subject: string, subjectKey: KeyObject, issuer: string, issuerKey: KeyObject, extension: Buffer, expired: boolean) {
  const body = sequence(
    tlv(0xa0, whole(2)),
    whole((serials++ % 120) + 1),
    ecdsaWithSha256,
    commonName(issuer),
    sequence(time('20200101000000Z'), time(expired ? '20210101000000Z' : '20990101000000Z')),
    commonName(subject),
    subjectKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(extension)),
  )
  const der = sequence(body, ecdsaWithSha256, bits(sign('sha256', body, issuerKey)))
  const lines = der.toString('base64').replace(/.{64}/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`
}

const pair = (): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } =>
  generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }) as string
const local = ['127.0.0.1', 'localhost']

/** An authority of its own: nobody trusts it who was not told. */
export function makeAuthority(name: string): Authority {
  const own = pair()
  return {
    cert: certificate(name, own.publicKey, name, own.privateKey, basicConstraints, false),
    key: pem(own.privateKey),
    issue(subject, { hosts = local, expired = false } = {}) {
      const { publicKey, privateKey } = pair()
      return { cert: certificate(subject, publicKey, name, own.privateKey, altNames(hosts), expired), key: pem(privateKey) }
    },
  }
}

/** A certificate that nobody signed but itself. */
export function selfSigned(name: string): Certificate {
  const { publicKey, privateKey } = pair()
  return { cert: certificate(name, publicKey, name, privateKey, altNames(local), false), key: pem(privateKey) }
}
