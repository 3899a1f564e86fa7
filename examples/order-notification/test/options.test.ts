import { describe, expect, it } from 'vitest'
import { parseCommand } from '../src/demo/options.ts'

const refusal = (...args: string[]) => {
  const command = parseCommand(args)
  return 'refused' in command ? command.refused : `not refused: ${JSON.stringify(command)}`
}

describe('the options of the demo', () => {
  it('are all orders, at full speed, on the embedded broker, when nothing is said', () => {
    expect(parseCommand([])).toEqual({
      run: { orders: 6919, rate: undefined, broker: 'memory:demo', title: 'the embedded broker', keep: false, json: false },
    })
  })

  it('take values after a space or an equals sign', () => {
    const run = { orders: 200, rate: 50, broker: 'memory:mine', title: 'the embedded broker memory:mine', keep: true, json: true }
    expect(parseCommand(['--orders', '200', '--rate=50', '--broker', 'memory:mine', '--keep', '--json'])).toEqual({ run })
  })

  it('refuse a name that does not exist, with the nearest one', () => {
    expect(refusal('--order', '5')).toBe('there is no option --order. Did you mean --orders?')
    expect(refusal('--jsno')).toContain('Did you mean --json?')
    expect(refusal('--verbose-output')).toBe('there is no option --verbose-output.')
    expect(refusal('200')).toBe('there is no option 200.')
  })

  it('refuse numbers that make no sense', () => {
    for (const value of ['0', '-1', '1.5', 'many', '6920', 'NaN'])
      expect(refusal('--orders', value)).toContain('--orders takes a whole number')
    for (const value of ['0', '-1', 'fast', 'Infinity']) expect(refusal('--rate', value)).toContain('--rate takes orders per second')
    expect(refusal('--orders')).toBe('--orders needs a value.')
    expect(refusal('--keep=yes')).toBe('--keep takes no value.')
  })

  it('take the URL of a real server, and show no more of it than what it is', () => {
    const run = (url: string) => parseCommand(['--broker', url])
    expect(run('redis://:secret@h:6379')).toMatchObject({ run: { broker: 'redis://:secret@h:6379', title: 'a Redis server' } })
    expect(run('amqps://u:secret@h/shop')).toMatchObject({ run: { broker: 'amqps://u:secret@h/shop', title: 'a RabbitMQ server' } })
    expect(parseCommand(['--broker=amqp://h:1'], 'RabbitMQ 3.10.8')).toMatchObject({
      run: { broker: 'amqp://h:1', title: 'RabbitMQ 3.10.8' },
    })
  })

  it('say who starts a server when there is only its name', () => {
    for (const name of ['rabbitmq', 'redis', 'kafka', 'mqtt'])
      expect(refusal('--broker', name)).toContain(`npm run demo -- --broker ${name}`)
    expect(refusal('--broker', 'reddis')).toContain('Did you mean redis?')
    expect(refusal('--broker', 'https://u:secret@h')).not.toContain('secret')
    expect(parseCommand(['--broker', 'memory'])).toMatchObject({ run: { broker: 'memory:demo' } })
  })
})
