import { runSuite, type SuiteReport } from '@posthorn/conformance'
import { run } from 'posthorn'
import { expect, test } from 'vitest'
import { withCommandLine } from './conformance/harness.ts'

const judged = (harness: Parameters<typeof runSuite>[0]['harness']): Promise<SuiteReport> => runSuite({ harness, only: ['DLQ-10'] })
const reasons = ({ results }: SuiteReport): readonly unknown[] => results.map(({ id, verdict, reason }) => ({ id, verdict, reason }))

test.each(['default', 'kafka', 'rabbitmq', 'redis', 'mqtt'] as const)('DLQ-10: it says the same as the API (%s)', async (profile) => {
  expect(reasons(await judged(withCommandLine(profile)))).toEqual([{ id: 'DLQ-10', verdict: 'pass', reason: undefined }])
})

/** What a word of the command line is misread as, and what the clause says to it. */
const misreadings: readonly (readonly [what: string, from: RegExp, to: readonly string[], noticed: RegExp])[] = [
  ['a reason that is overlooked by purge', /^purge .*--reason not-wanted --json$/, ['--all', '--yes', '--json'], /purge by reason/],
  ['nothing chosen that means everything', /^replay$/, ['--all'], /replay\b.* ends with 2, not 0/],
  ['a group that is overlooked', /^replay --id/, ['--all', '--json'], /replay by id/],
  ['a limit that is overlooked', /^list --json --limit 5$/, ['--json'], /list --limit 5/],
]

test.each(misreadings)('DLQ-10 notices %s', async (_what, from, to, noticed) => {
  const misread: typeof run = (args, io) => {
    const [dlq = '', verb = '', topicOption = '', topic = '', groupOption = '', group = '', ...rest] = args
    const wrong = from.test([verb, ...rest].join(' '))
    return run([dlq, verb, topicOption, topic, groupOption, group, ...(wrong ? to : rest)], io)
  }
  expect(reasons(await judged(withCommandLine('default', misread)))).toMatchObject([
    { id: 'DLQ-10', verdict: 'fail', reason: expect.stringMatching(noticed) },
  ])
})
