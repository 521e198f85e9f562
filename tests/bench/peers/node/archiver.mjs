// The usual recipe on Node, as a careful user would write it: archiver and lib-storage, 32 GETs in flight
// and at most 64 MB ahead, entries in order and stored, parts of 8 MiB and four in flight, payloads unsigned.
//
//     node archiver.mjs JOB
//
// As the other peers, it does the job twice and prints the second round as a line of JSON.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { PassThrough } from 'node:stream'
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { ZipArchive } from 'archiver'

const job = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const connections = { keepAlive: true, maxSockets: 64 }
const s3 = new S3Client({
  endpoint: job.endpoint,
  region: 'us-east-1',
  forcePathStyle: true,
  credentials: { accessKeyId: 'bench', secretAccessKey: 'bench' },
  requestHandler: {
    httpAgent: new HttpAgent(connections),
    httpsAgent: new HttpsAgent(connections)
  }
})
const unsigned = (next) => (args) => {
  args.request.headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD'
  return next(args)
}
s3.middlewareStack.add(unsigned, { step: 'build', name: 'unsigned' })

async function fetchEntry ({ key }) {
  const object = await s3.send(new GetObjectCommand({ Bucket: job.bucket, Key: key }))
  return Buffer.from(await object.Body.transformToByteArray())
}

// Yields the entries in order, and fetches up to `concurrency` at once.
async function * bodies () {
  const [maxCount, maxBytes] = [job.concurrency, 64 << 20]
  const waiting = []
  let [bytes, next] = [0, 0]
  while (next < job.entries.length || waiting.length) {
    while (next < job.entries.length && waiting.length < maxCount &&
        (!waiting.length || bytes + job.entries[next].size <= maxBytes)) {
      const entry = job.entries[next++]
      const body = fetchEntry(entry)
      body.catch(() => {}) // the error is thrown where the body is awaited
      waiting.push([entry, body])
      bytes += entry.size
    }
    const [entry, body] = waiting.shift()
    yield [entry, await body]
    bytes -= entry.size
  }
}

async function zip () {
  const archive = new ZipArchive({ store: true })
  const stream = new PassThrough({ highWaterMark: 1 << 20 })
  archive.on('error', (error) => stream.destroy(error))
  archive.pipe(stream)
  const target = { Bucket: job.bucket, Key: job.zip, Body: stream }
  const uploaded = new Upload({ client: s3, params: target, partSize: 8 << 20, queueSize: 4 }).done()
  for await (const [{ name }, body] of bodies()) {
    const written = once(archive, 'entry')
    archive.append(body, { name })
    await written
  }
  archive.append(JSON.stringify(job, null, 2), { name: 'metadata.json' })
  await archive.finalize()
  await uploaded
}

await zip()
const [start, cpu] = [process.hrtime.bigint(), process.cpuUsage()]
await zip()
const { user, system } = process.cpuUsage(cpu)
console.log(JSON.stringify({
  wall_s: Number(process.hrtime.bigint() - start) / 1e9,
  cpu_s: (user + system) / 1e6,
  peak_mib: process.resourceUsage().maxRSS / 1024
}))
