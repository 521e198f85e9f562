// The usual recipe on Node, as a careful user would write it: archiver and lib-storage, 32 GETs in flight
// and at most 64 MB ahead, entries in order and stored, parts of 8 MiB and four in flight, payloads unsigned.
//
//     node archiver.mjs MANIFEST --endpoint URL
//
// Like the other peers it does the job twice and prints the second round as a line of JSON.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { PassThrough } from 'node:stream'
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { ZipArchive } from 'archiver'

const [path, , endpoint] = process.argv.slice(2)
const manifest = JSON.parse(readFileSync(path, 'utf8'))
const connections = { keepAlive: true, maxSockets: 64 }
const s3 = new S3Client({
  endpoint,
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

async function fetched ({ key }) {
  const answer = await s3.send(new GetObjectCommand({ Bucket: manifest.bucket, Key: key }))
  return Buffer.from(await answer.Body.transformToByteArray())
}

// In order, up to 32 at once.
async function * bodies () {
  const [most, mostBytes] = [32, 64 << 20]
  const waiting = []
  let [bytes, next] = [0, 0]
  while (next < manifest.entries.length || waiting.length) {
    while (next < manifest.entries.length && waiting.length < most &&
        (!waiting.length || bytes + manifest.entries[next].size <= mostBytes)) {
      const entry = manifest.entries[next++]
      const body = fetched(entry)
      body.catch(() => {}) // it is awaited in its turn
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
  const target = { Bucket: manifest.bucket, Key: manifest.zip, Body: stream }
  const uploaded = new Upload({ client: s3, params: target, partSize: 8 << 20, queueSize: 4 }).done()
  for await (const [{ name }, body] of bodies()) {
    const written = once(archive, 'entry')
    archive.append(body, { name })
    await written
  }
  archive.append(JSON.stringify(manifest, null, 2), { name: 'metadata.json' })
  await archive.finalize()
  await uploaded
}

await zip()
const [begun, cpu] = [process.hrtime.bigint(), process.cpuUsage()]
await zip()
const { user, system } = process.cpuUsage(cpu)
console.log(JSON.stringify({
  wall_ms: Number(process.hrtime.bigint() - begun) / 1e6,
  cpu_ms: (user + system) / 1e3,
  peak_kib: process.resourceUsage().maxRSS
}))
