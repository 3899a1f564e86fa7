// The world outside, first half: a mail server that keeps what it gets in memory.
import type { AddressInfo } from 'node:net'
import { SMTPServer } from 'smtp-server'
import type { Trouble } from './trouble.ts'

export interface KeptMail {
  readonly orderId: string
  readonly to: string
  readonly subject: string
  readonly text: string
}
export interface SmtpReceiver {
  readonly url: string
  /** In the order in which they were accepted; repeats included. */
  readonly mails: readonly KeptMail[]
  /** Orders whose mail was turned away with "try again later". */
  readonly deferred: ReadonlySet<string>
  /** How often a mail was refused for good. */
  readonly refusals: number
  /** From now on every mailbox takes its mail. */
  fix(): void
  close(): Promise<void>
}

export async function startSmtpReceiver(trouble: Trouble): Promise<SmtpReceiver> {
  const mails: KeptMail[] = []
  const deferred = new Set<string>()
  let refusals = 0
  let fixed = false

  const server = new SMTPServer({
    disabledCommands: ['AUTH', 'STARTTLS'],
    disableReverseLookup: true,
    logger: false,
    onData(stream, _session, callback) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('end', () => {
        const mail = parseMail(Buffer.concat(chunks).toString('utf8'))
        if (trouble.always.has(mail.orderId) && !fixed) {
          refusals++
          return callback(refusal(552, 'the mailbox is full'))
        }
        if (trouble.once.has(mail.orderId) && !deferred.has(mail.orderId)) {
          deferred.add(mail.orderId)
          return callback(refusal(451, 'busy, try again later'))
        }
        mails.push(mail)
        callback()
      })
    },
  })
  // A client that goes away is no reason for a mail server to end.
  server.on('error', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `smtp://127.0.0.1:${(server.server.address() as AddressInfo).port}`,
    mails,
    deferred,
    get refusals() {
      return refusals
    },
    fix: () => {
      fixed = true
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

function refusal(responseCode: number, message: string): Error {
  return Object.assign(new Error(message), { responseCode })
}

function parseMail(raw: string): KeptMail {
  const end = raw.indexOf('\r\n\r\n')
  const head = raw.slice(0, end).replaceAll(/\r\n[ \t]+/g, ' ')
  const header = (name: string) => new RegExp(`^${name}: *(.*)$`, 'im').exec(head)?.[1]?.trim() ?? ''
  return {
    orderId: header('X-Order-Id'),
    to: header('To'),
    subject: header('Subject'),
    text: raw
      .slice(end + 4)
      .replaceAll('\r\n', '\n')
      .trimEnd(),
  }
}
