// Points in time as people write them: an instant, a day, or an age.

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** What `parseMoment` takes, for help and refusals. */
export const momentForms = 'a day (2026-11-22, from midnight UTC), an instant (2026-11-22T10:30:00Z) or an age (90s, 30m, 2h, 7d, 2w)'

/** Milliseconds since 1970; undefined for anything else. An instant without a zone is refused: it would mean another one elsewhere. */
export function parseMoment(text: string, now: number): number | undefined {
  const age = /^(\d{1,9})([smhdw])$/.exec(text)
  if (age !== null) return now - Number(age[1]) * (units[age[2] ?? ''] ?? 0)
  if (!/^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d))?$/.test(text)) return undefined
  const at = Date.parse(text)
  if (Number.isNaN(at)) return undefined
  // Days that no month has are moved into the next one by the parser.
  return new Date(`${text.slice(0, 10)}T00:00:00Z`).toISOString().startsWith(text.slice(0, 10)) ? at : undefined
}
