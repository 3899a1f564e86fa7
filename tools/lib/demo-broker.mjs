// Which broker the demo runs on: `--broker` on the command line, else POSTHORN_BROKER, else the embedded one.

/** The servers that can be started for a run, by name. */
export const startable = ['redis', 'rabbitmq', 'kafka', 'mqtt']

/**
 * The arguments with the broker of the environment, where the command line names none. A name whose URL is set as POSTHORN_<NAME>_URL is
 * that server; the name of one that can be started stays, so that the launcher takes it from there: it looks at that URL first.
 */
export function withBroker(args, env) {
  const chosen = env.POSTHORN_BROKER
  if (chosen === undefined || chosen === '' || args.some((arg) => arg === '--broker' || arg.startsWith('--broker='))) return args
  const url = env[`POSTHORN_${chosen.toUpperCase().replaceAll('-', '_')}_URL`]
  return [...args, '--broker', startable.includes(chosen) || url === undefined ? chosen : url]
}

/** Where among the arguments a server is named that can be started; -1: nowhere. */
export function placeOf(args) {
  return args.findIndex((arg, index) =>
    startable.some((name) => arg === `--broker=${name}` || (arg === name && args[index - 1] === '--broker')),
  )
}
