/** No server by this name can be had here. `tried` says, in order, where it was looked for and why that did not work. */
export class BrokerMissing extends Error {
  constructor(name, tried) {
    super(`no ${name} here:\n${tried.map((line) => `  - ${line}`).join('\n')}`)
    this.name = 'BrokerMissing'
    this.code = 'BROKER_MISSING'
    this.broker = name
    this.tried = tried
  }
}
