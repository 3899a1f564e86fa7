import type { Line } from '../raw.ts'
import { leftOutOf, passedOf, spoiled } from '../report.ts'
import type { Chart, Row, Table, Target } from '../scenario.ts'
import { summaryCells } from '../summary.ts'
import { figureOf, type Panel } from './charts.ts'
import { colourOf, safe } from './markup.ts'
import { ratioFigure } from './ratios.ts'
import { style } from './style.ts'

/** The report as one file that needs nothing else: no script, no font, no image from anywhere. */
export function pageOf(lines: readonly Line[], tables: readonly Table[]): string {
  const about = lines.find((line) => line.type === 'head')?.about ?? {}
  const servers = lines.filter((line) => line.type === 'server')
  const brokers = servers.map(({ broker }) => broker)
  const missing = leftOutOf(lines)
  const targets = tables.flatMap(({ rows }) => rows.flatMap((row) => row.targets))
  const tiers = servers.map(({ broker, tier }) => `${broker}: ${tier}`).join(', ')
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Posthorn benchmark</title><style>${style}</style></head><body>
<h1>Posthorn benchmark</h1>
<p class="soft">${safe([about['when'], about['machine'], `Node ${about['node'] ?? '?'}`].filter(Boolean).join(' · '))}<br>
client and server share this machine · at least once on both ends · ${safe(tiers === '' ? '' : `what a confirmed message survives: ${tiers} · `)}<code>${safe(about['repeat'] ?? '')}</code></p>
${verdictOf(tables)}
<div class="panels">${ratioFigure(tables, brokers)}</div>
${summaryTable(tables)}
${targets.length === 0 ? '' : targetsOf(targets)}
${tables.map(sectionOf).join('\n')}
<h2>Versions and settings</h2>
<div class="scroll"><table>${Object.entries(about)
    .map(([name, value]) => `<tr><td>${safe(name)}</td><td class="text">${safe(value)}</td></tr>`)
    .join('')}</table></div>
<h3>How each client is set</h3>
<div class="scroll"><table>${servers
    .flatMap(({ broker, clients: own }) =>
      Object.entries(own).map(
        ([client, { promise, how }]) =>
          `<tr><td>${safe(`${broker}, ${client}`)}</td><td class="text">${safe(promise)}</td><td class="text">${safe(how)}</td></tr>`,
      ),
    )
    .join('')}</table></div>
${missing === '' ? '' : `<h2>Not in this report</h2><pre>${safe(missing.trim())}</pre>`}
</body></html>
`
}

/** The one thing to know first: whether anything was lost. */
function verdictOf(tables: readonly Table[]): string {
  const rows = tables.flatMap((table) => table.rows)
  const bad = rows.filter(spoiled)
  const sum = (of: (row: Row) => number): string => String(rows.reduce((total, row) => total + of(row), 0)).replace(/\B(?=(\d{3})+$)/g, ',')
  const passed = `${sum(({ counts }) => counts?.sent ?? 0)} messages sent`
  return bad.length === 0
    ? `<p class="met">${rows.length} rows, ${passed}: nothing lost, nothing out of order, nothing repeated but where something was killed (${sum(({ faults }) => faults.twice)}).</p>`
    : `<p class="flag">${bad.length} of ${rows.length} rows are faulty and not drawn: ${safe(bad.map(({ name }) => name).join('; '))}</p>`
}

function summaryTable(tables: readonly Table[]): string {
  const { heads, lines } = summaryCells(tables)
  return lines.length === 0 ? '' : `<h3>Summary</h3>${tableOf(heads, lines)}`
}

function tableOf(heads: readonly string[], lines: readonly (readonly string[])[], bad: readonly boolean[] = []): string {
  const cell = (tag: string, text: string): string => `<${tag}>${safe(text)}</${tag}>`
  const body = lines.map(
    (line, index) => `<tr${bad[index] === true ? ' class="bad"' : ''}>${line.map((text) => cell('td', text)).join('')}</tr>`,
  )
  return `<div class="scroll"><table><thead><tr>${heads.map((head) => cell('th', head)).join('')}</tr></thead><tbody>${body.join('')}</tbody></table></div>`
}

function targetsOf(targets: readonly Target[]): string {
  const met = targets.filter((target) => target.met).length
  const rows = targets.map(
    ({ text, value, met: is }) =>
      `<tr><td>${safe(text)}</td><td>${safe(value)}</td><td class="${is ? 'met' : 'unmet'}">${is ? 'met' : 'not met'}</td></tr>`,
  )
  return `<details><summary>Targets: ${met} of ${targets.length} met</summary><div class="scroll"><table>${rows.join('')}</table></div></details>`
}

function sectionOf({ title, method, rows, charts }: Table): string {
  const clients = [...new Set(rows.flatMap(({ mark }) => (mark === undefined ? [] : [mark.client])))]
  const key = clients.map((client) => `<span><i class="${colourOf(client)}"></i>${safe(client)}</span>`).join('')
  const pictures = charts.map((chart) => {
    const figures = panelsOf(rows, chart).map((panel) => figureOf(chart, panel))
    const way = chart.better === 'more' ? 'longer is better' : 'further left is better'
    return `<h3>${safe(chart.title)} · ${way}${chart.scale === 'log' ? ', logarithmic' : ''}</h3><div class="panels">${figures.join('')}</div>`
  })
  return `<h2>${safe(title)}</h2><p class="soft">${safe(method)}</p>${charts.length === 0 ? '' : `<div class="key">${key}</div>`}${pictures.join('')}${detailsOf(rows)}`
}

function panelsOf(rows: readonly Row[], { values }: Chart): Panel[] {
  const marked = rows.flatMap((row) => (row.mark === undefined ? [] : [{ row, mark: row.mark }]))
  return [...new Set(marked.map(({ mark }) => mark.panel))].map((title) => {
    const own = marked.filter(({ mark }) => mark.panel === title)
    return {
      title,
      marks: own
        .filter(({ row, mark }) => !spoiled(row) && values.every((name) => mark.values[name] !== undefined))
        .map(({ mark }) => mark),
      spoiled: own.filter(({ row }) => spoiled(row)).map(({ mark }) => `${mark.broker}, ${mark.client}`),
    }
  })
}

function detailsOf(rows: readonly Row[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.figures)))]
  const heads = ['', ...names, 'sent/confirmed/received', 'lost', 'twice', 'misordered', 'unsettled', 'durability', 'promise']
  const lines = rows.map((row) => [
    row.name,
    ...names.map((name) => row.figures[name] ?? ''),
    passedOf(row),
    ...[row.faults.lost, row.faults.twice, row.faults.misordered, row.unsettled ?? ''].map(String),
    row.tier ?? '',
    row.promise ?? '',
  ])
  return `<details><summary>All figures, ${rows.length} rows</summary>${tableOf(heads, lines, rows.map(spoiled))}</details>`
}
