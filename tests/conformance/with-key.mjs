// Loaded into the suite by `node --import`: the suite sends no key, so its requests to the gateway get one here, and nothing
// else of them is touched. CONFORMANCE_GATEWAY is the gateway's origin, CONFORMANCE_KEY the key of an agent.
import diagnostics from 'node:diagnostics_channel';

const gateway = new URL(process.env.CONFORMANCE_GATEWAY);
const value = `Bearer ${process.env.CONFORMANCE_KEY}`;

// `fetch`, of Node itself and of the package.
diagnostics.subscribe('undici:request:create', ({ request }) => {
  if (request.origin === gateway.origin) request.addHeader('authorization', value);
});
// `node:http`, with which the suite sends heads of its own making. `host` is who is connected to, whatever the head says.
diagnostics.subscribe('http.client.request.created', ({ request }) => {
  if (request.host === gateway.hostname) request.setHeader('authorization', value);
});
