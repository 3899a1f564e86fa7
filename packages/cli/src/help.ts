import { type Command, commonOptions } from './command.ts'

const intro = 'posthorn: the command line of Posthorn. The broker comes from posthorn.config.* and POSTHORN_*, as for an application.'
const codes = 'exit codes: 0 all done; 1 something failed or was left; 2 the command line or the configuration is wrong, nothing was tried'

/** All commands, or those that begin with a word. */
export function overview(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length))
  const list = commands.map(({ name, summary }) => `  posthorn ${name.padEnd(width)}  ${summary}`)
  return [intro, '', ...list, '', '`posthorn COMMAND --help` shows the options of one, `posthorn --version` the version.', codes, ''].join(
    '\n',
  )
}

/** Everything about one command. */
export function helpFor({ name, summary, usage, notes, options }: Command): string {
  const all = [...options, ...commonOptions].map((option) => ({
    left: `--${option.name}${option.value === undefined ? '' : ` ${option.value}`}`,
    text: option.help,
  }))
  const width = Math.max(...all.map(({ left }) => left.length))
  const list = all.map(({ left, text }) => `  ${left.padEnd(width)}  ${text}`)
  return [`posthorn ${name}: ${summary}`, '', `usage: posthorn ${name} ${usage}`, '', ...notes, '', ...list, '', codes, ''].join('\n')
}
