import { wire } from '@posthorn/core/adapter'
import { expect, it } from 'vitest'
import { keysOfPartitions, partitionOfKey } from '../src/murmur2.ts'

it("places keys as Kafka's Java client does", () => {
  // Published values of org.apache.kafka.common.utils.Utils.murmur2.
  for (const [key, hash] of [
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
  ] as const) {
    expect(partitionOfKey(key, 1_000)).toBe((hash & 0x7fffffff) % 1_000)
  }
})

it('agrees with the library, by other code', () => {
  for (let index = 0; index < 500; index++) {
    const key = `${'k'.repeat(index % 7)}${index}é`
    expect(partitionOfKey(key, 4)).toBe((wire.murmur2(new TextEncoder().encode(key)) & 0x7fffffff) % 4)
  }
})

it('finds a key for each partition', () => {
  expect(keysOfPartitions(16).map((key) => partitionOfKey(key, 16))).toEqual(Array.from({ length: 16 }, (_, index) => index))
})
