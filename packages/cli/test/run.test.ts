import { readFileSync } from 'node:fs'
import { run } from 'posthorn'
import { expect, test } from 'vitest'
import { terminal } from './terminal.ts'

async function ran(line: string): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const made = terminal()
  const code = await run(line.split(' ').filter(Boolean), made.io)
  return { code, stdout: made.stdout, stderr: made.stderr }
}

test('--help and --version answer on stdout and end with 0', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { readonly version: string }
  expect(await ran('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  const overview = await ran('--help')
  expect(overview).toMatchObject({ code: 0, stderr: '' })
  for (const name of ['list', 'show', 'replay', 'purge']) expect(overview.stdout).toContain(`  posthorn dlq ${name}`)
  expect(await ran('dlq --help')).toEqual(overview)
})

test.each(['list', 'show', 'replay', 'purge'])('dlq %s --help shows each option, whatever stands beside it', async (verb) => {
  for (const line of [`dlq ${verb} --help`, `dlq ${verb} -h`, `dlq ${verb} --topic a --help --nonsense`]) {
    const { code, stdout, stderr } = await ran(line)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const name of ['topic', 'group', 'native', 'broker', 'config', 'json', 'help'])
      expect(stdout).toMatch(new RegExp(`^  --${name}\\b`, 'm'))
  }
})

test('the page of the command line shows the help as it is', async () => {
  const page = readFileSync(new URL('../../../docs/command-line.md', import.meta.url), 'utf8')
  for (const verb of ['list', 'show', 'replay', 'purge']) expect(page).toContain((await ran(`dlq ${verb} --help`)).stdout.trim())
})

test('no command, or half of one, shows what there is and ends with 2', async () => {
  for (const line of ['', 'dlq']) {
    const { code, stdout, stderr } = await ran(line)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain('posthorn dlq list')
  }
})

test.each([
  ['dlq lst', 'there is no command "dlq lst". did you mean "posthorn dlq list"?'],
  ['dql replay', 'there is no command "dql replay". did you mean "posthorn dlq replay"?'],
  ['purge', 'there is no command "purge". did you mean "posthorn dlq purge"?'],
  ['frobnicate everything', 'there is no command "frobnicate everything". known are dlq list, dlq show, dlq replay, dlq purge'],
  ['--topic a dlq list', '--topic stands before a command, which comes first'],
  ['--verison', 'did you mean --version?'],
  ['dlq list --group g', '--topic is missing'],
  ['dlq list --topic t', '--group is missing'],
  ['dlq list --topc t', 'there is no option --topc. did you mean --topic?'],
  ['dlq list --zebra', 'there is no option --zebra. known are --topic, --group'],
  ['dlq list -t t', 'there is no option -t.'],
  ['dlq list --topic', '--topic needs a value'],
  ['dlq list --topic --group g', '--topic needs a value, and --group looks like an option'],
  ['dlq list --topic t --topic u', '--topic is given twice'],
  ['dlq list --json=yes', '--json is a switch and takes no value'],
  ['dlq list orders --group g', '"orders" belongs to no option'],
  ['dlq list --topic t --group g --limit many', '--limit must be a whole number from 0, not "many"'],
  ['dlq list --topic t --group g --limit 1.5', '--limit must be a whole number from 0'],
  ['dlq list --topic t --group g --after 2026-02-30', '--after must be a day'],
  ['dlq list --topic t --group g --after 2026-11-22T10:00', '--after must be a day'],
  ['dlq list --topic T --group g', 'cannot declare a topic'],
  ['dlq list --topic t --group g --native [1]', '--native must be a JSON object'],
  ['dlq show --topic t --group g', '--id is missing'],
  ['dlq replay --topic t --group g', 'nothing is chosen. say which: --id ID'],
  ['dlq replay --topic t --group g --all --id a', '--id and --all are given together'],
  ['dlq replay --topic t --group g --id a --reason r --before 2h', '--id and --reason, --before are given together'],
  ['dlq replay --topic t --group g --all --rate 0', '--rate must be a number from 0.001'],
  ['dlq purge --topic t --group g', 'nothing is chosen. say which: --id ID'],
  ['dlq purge --topic t --group g --yes', 'nothing is chosen'],
  ['dlq purge --topic t --group g --all --type x --yes', '--type and --all are given together'],
  ['dlq purge --topic t --group g --all', 'nobody is here to confirm it. say --yes as well'],
])('"posthorn %s" is refused before anything is connected: %s', async (line, text) => {
  const { code, stdout, stderr } = await ran(line)
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toContain(text)
  expect(stderr).toMatch(/^INVALID_ARGUMENT {2}cannot [^\n]+\n$/)
})

test('what nobody expected is one line, without a stack', async () => {
  expect(await ran('dlq list --topic t --group g')).toEqual({ code: 1, stdout: '', stderr: 'INTERNAL  it connected\n' })
})
