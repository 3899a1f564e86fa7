// The mails that were kept, to be looked at: a small page, and the same as JSON.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { KeptMail } from './smtp-receiver.ts'

export async function startMailPage(mails: readonly KeptMail[]): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    if (request.url === '/mails.json')
      response.writeHead(200, { 'content-type': 'application/json' }).end(`${JSON.stringify(mails, null, 2)}\n`)
    else if (request.url === '/') response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page(mails))
    else response.writeHead(404).end('there are / and /mails.json\n')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function page(mails: readonly KeptMail[]): string {
  const newest = mails.slice(-200).reverse()
  const rows = newest.map(
    ({ to, subject, text }) => `<tr><td>${escapeHtml(to)}</td><td>${escapeHtml(subject)}</td><td>${escapeHtml(text)}</td></tr>`,
  )
  return `<!doctype html><meta charset="utf-8"><title>Mails</title>
<style>body{font:15px system-ui;margin:2rem}td{padding:.3rem 1rem .3rem 0;border-top:1px solid #ddd;vertical-align:top;white-space:pre-line}</style>
<h1>${mails.length} mails</h1><p>The newest ${newest.length}; all of them: <a href="/mails.json">mails.json</a></p>
<table>${rows.join('\n')}</table>
`
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
