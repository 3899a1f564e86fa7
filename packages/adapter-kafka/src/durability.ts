// Settings of the server with which it may lose what it has acknowledged: told once, never refused.

import type { Cluster } from './cluster.ts'

const topicKind = 2

/** Looks at a topic's settings. What may not be looked at is not told. */
export async function warnOfLosses(cluster: Cluster, topic: string, name: string): Promise<void> {
  try {
    const connection = await cluster.main()
    const { resources } = await connection.request('DescribeConfigs', {
      resources: [{ type: topicKind, name: topic, configNames: ['unclean.leader.election.enable', 'min.insync.replicas'] }],
      includeSynonyms: false,
    })
    const [resource] = resources
    if (resource === undefined || resource.errorCode !== 0) return
    const setting = (wanted: string): string | null =>
      resource.configEntries.find(({ configName }) => configName === wanted)?.configValue ?? null
    const replicas = cluster.known(topic)?.replicas ?? 1
    const problems: string[] = []
    if (setting('unclean.leader.election.enable') === 'true' && replicas > 1)
      problems.push('unclean.leader.election.enable lets a replica lead that has not everything')
    if (replicas > 1 && Number(setting('min.insync.replicas')) < 2)
      problems.push('min.insync.replicas is 1, so a message may be on one node only when it is acknowledged')
    if (problems.length > 0) cluster.context.event('not-durable', { topic: name, note: problems.join('; ') })
  } catch {
    // The link ended, or the server does not tell.
  }
}
