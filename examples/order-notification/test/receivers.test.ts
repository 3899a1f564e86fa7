import { expect, it, onTestFinished } from 'vitest'
import { startMailPage } from '../src/demo/mail-page.ts'
import { startPushReceiver } from '../src/demo/push-receiver.ts'
import { startSmtpReceiver } from '../src/demo/smtp-receiver.ts'
import { type Mail, smtpMailer } from '../src/email-service.ts'

const trouble = { once: new Set(['ada-2']), always: new Set(['ada-3']) }
const mail = (orderId: string): Mail => ({
  messageId: `<${orderId}@shop.example>`,
  from: 'orders@shop.example',
  to: 'ada@customers.example',
  subject: `Your order ${orderId}`,
  text: 'Thank you <b>\n',
  headers: { 'X-Order-Id': orderId },
})

it('the mail server keeps mails, puts some off once and refuses some until it is fixed', async () => {
  const receiver = await startSmtpReceiver(trouble)
  const mailer = smtpMailer(receiver.url)
  const page = await startMailPage(receiver.mails)
  onTestFinished(async () => {
    mailer.close()
    await Promise.all([receiver.close(), page.close()])
  })
  await mailer.sendMail(mail('ada-1'))
  await expect(mailer.sendMail(mail('ada-2'))).rejects.toMatchObject({ responseCode: 451 })
  await mailer.sendMail(mail('ada-2'))
  await expect(mailer.sendMail(mail('ada-3'))).rejects.toMatchObject({ responseCode: 552 })
  await expect(mailer.sendMail(mail('ada-3'))).rejects.toMatchObject({ responseCode: 552 })
  receiver.fix()
  await mailer.sendMail(mail('ada-3'))
  expect(receiver.mails.map(({ orderId }) => orderId)).toEqual(['ada-1', 'ada-2', 'ada-3'])
  expect(receiver.mails[0]).toEqual({ orderId: 'ada-1', to: 'ada@customers.example', subject: 'Your order ada-1', text: 'Thank you <b>' })
  expect([...receiver.deferred]).toEqual(['ada-2'])
  expect(receiver.refusals).toBe(2)
  expect(await (await fetch(`${page.url}mails.json`)).json()).toEqual(receiver.mails)
  expect(await (await fetch(page.url)).text()).toContain('Thank you &lt;b&gt;')
})

it('the push receiver accepts calls, puts some off once and refuses some until it is fixed', async () => {
  const receiver = await startPushReceiver(trouble)
  onTestFinished(() => receiver.close())
  const call = async (orderId: string) => {
    const response = await fetch(receiver.url, { method: 'POST', body: JSON.stringify({ orderId, userId: 'ada', text: 'hello' }) })
    await response.text()
    return response.status
  }
  expect(await Promise.all(['ada-1', 'ada-2', 'ada-3'].map(call))).toEqual([202, 503, 500])
  expect(await Promise.all(['ada-2', 'ada-3'].map(call))).toEqual([202, 500])
  receiver.fix()
  expect(await call('ada-3')).toBe(202)
  expect(receiver.calls.map(({ orderId }) => orderId)).toEqual(['ada-1', 'ada-2', 'ada-3'])
  expect([...receiver.refused].sort()).toEqual(['ada-2', 'ada-3'])
  expect(receiver.inFlight).toBe(0)
})
