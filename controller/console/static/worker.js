// One live stream for all tabs of a browser: HTTP/1.1 gives a browser six connections, and seven tabs would hang.
const ports = new Set();
let stream = null;
let last = {};

function send(port, message) { port.postMessage(message); }

function connect() {
  stream = new EventSource('/live');
  stream.addEventListener('now', (event) => {
    const regions = JSON.parse(event.data);
    Object.assign(last, regions);
    for (const port of ports) send(port, {regions});
  });
  stream.onopen = () => { for (const port of ports) send(port, {state: 'open'}); };
  stream.onerror = () => {
    for (const port of ports) send(port, {state: 'lost'});
    if (stream.readyState === 2) { stream = null; setTimeout(() => { if (ports.size && !stream) connect(); }, 5000 + Math.random() * 10000); }
  };
}

self.onconnect = (event) => {
  const port = event.ports[0];
  ports.add(port);
  port.onmessage = (message) => {
    if (message.data !== 'bye') return;
    ports.delete(port);
    if (!ports.size && stream) { stream.close(); stream = null; last = {}; }
  };
  port.start();
  if (Object.keys(last).length) send(port, {regions: last});
  if (!stream) connect();
};
