import type { Spread } from './statistics.ts'

/** 123456 as 123,456. */
export const whole = (value: number): string => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',')

/** 1.234 as 1.23. */
export const fine = (value: number): string => value.toFixed(2)

/** The median, and how far the runs were apart. */
export const spread = (values: Spread, format: (value: number) => string): string =>
  `${format(values.median)} (${format(values.lowest)}–${format(values.highest)})`

/** Bytes as MiB. */
export const mebibytes = (bytes: number): string => `${whole(bytes / 1_048_576)} MiB`
