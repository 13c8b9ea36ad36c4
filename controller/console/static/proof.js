// Checks an inclusion proof in this browser. Own SHA-256: browsers give no crypto.subtle to plain http.
(() => {
  const K = new Uint32Array(64);
  const H0 = new Uint32Array(8);
  // The constants are the fractional parts of the roots of the first primes (FIPS 180-4 section 4.2.2).
  (() => {
    const frac = (x) => (x - Math.floor(x)) * 4294967296 >>> 0;
    for (let n = 2, count = 0; count < 64; n++) {
      let prime = true;
      for (let d = 2; d * d <= n; d++) if (n % d === 0) { prime = false; break; }
      if (!prime) continue;
      if (count < 8) H0[count] = frac(Math.sqrt(n));
      K[count++] = frac(Math.cbrt(n));
    }
  })();

  function sha256(bytes) {
    const blocks = (bytes.length + 9 + 63) >> 6;
    const data = new Uint8Array(blocks * 64);
    data.set(bytes);
    data[bytes.length] = 0x80;
    const view = new DataView(data.buffer);
    view.setUint32(data.length - 8, Math.floor(bytes.length / 536870912));
    view.setUint32(data.length - 4, bytes.length << 3);
    const h = H0.slice();
    const w = new Uint32Array(64);
    const rotr = (x, n) => x >>> n | x << (32 - n);
    for (let at = 0; at < data.length; at += 64) {
      for (let i = 0; i < 16; i++) w[i] = view.getUint32(at + 4 * i);
      for (let i = 16; i < 64; i++) {
        const a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotr(a, 7) ^ rotr(a, 18) ^ a >>> 3) + w[i - 7] + (rotr(b, 17) ^ rotr(b, 19) ^ b >>> 10);
      }
      let [a, b, c, d, e, f, g, z] = h;
      for (let i = 0; i < 64; i++) {
        const t1 = z + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + (e & f ^ ~e & g) + K[i] + w[i] | 0;
        const t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + (a & b ^ a & c ^ b & c) | 0;
        z = g; g = f; f = e; e = d + t1 | 0; d = c; c = b; b = a; a = t1 + t2 | 0;
      }
      [a, b, c, d, e, f, g, z].forEach((x, i) => { h[i] += x; });
    }
    const out = new Uint8Array(32);
    const outView = new DataView(out.buffer);
    h.forEach((x, i) => outView.setUint32(4 * i, x));
    return out;
  }

  const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
  const unhex = (text) => Uint8Array.from(text.match(/../g) || [], (pair) => parseInt(pair, 16));
  const join = (...parts) => {
    const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) { out.set(part, at); at += part.length; }
    return out;
  };

  // RFC 9162 section 2.1.3.2
  function rootOf(leaf, index, size, siblings) {
    let fn = BigInt(index), sn = BigInt(size) - 1n;
    let r = sha256(join([0], leaf));
    if (fn > sn) return null;
    for (const p of siblings) {
      if (sn === 0n) return null;
      if (fn & 1n || fn === sn) {
        r = sha256(join([1], p, r));
        while (!(fn & 1n) && fn !== 0n) { fn >>= 1n; sn >>= 1n; }
      } else r = sha256(join([1], r, p));
      fn >>= 1n; sn >>= 1n;
    }
    return sn === 0n ? r : null;
  }

  function checkEntry(box) {
    const leaf = new TextEncoder().encode(document.getElementById('leaf').textContent);
    const siblings = [...box.querySelectorAll('[data-sibling]')].map((e) => unhex(e.textContent.trim()));
    const begun = performance.now();
    const root = rootOf(leaf, box.dataset.index, box.dataset.size, siblings);
    const valid = root !== null && hex(root) === box.dataset.root;
    const took = (performance.now() - begun).toFixed(1);
    const verdict = document.getElementById('verdict');
    verdict.className = 'verdict ' + (valid ? 'done' : 'problems');
    verdict.replaceChildren();
    const bold = document.createElement('b');
    bold.textContent = valid ? 'Valid' : 'Invalid';
    verdict.append(valid ? '✓ ' : '▲ ', bold, valid
      ? `: checked in this browser, ${siblings.length + 1} hashes in ${took} ms. These exact bytes are entry ${box.dataset.index} of the ledger.`
      : ': checked in this browser. These bytes do not lead to the root. The entry or the path was altered.');
    box.dataset.checked = valid ? 'valid' : 'invalid';
  }

  // A ledger only grows. This browser remembers the largest head it has seen and compares.
  function remember(box) {
    const size = Number(box.dataset.headSize), root = box.dataset.headRoot;
    let kept = null;
    try { kept = JSON.parse(localStorage.getItem('atoll-head')); } catch { kept = null; }
    const out = document.getElementById('memory');
    if (kept && (size < kept.size || size === kept.size && root !== kept.root)) {
      out.className = 'problems';
      out.textContent = `▲ This browser has seen a ledger of ${kept.size} entries with another root. The ledger was replaced or cut: ask why.`;
      return;
    }
    out.textContent = kept ? `✓ Not smaller than what this browser saw before (${kept.size} entries).` : 'This browser remembers this head from now on.';
    try { localStorage.setItem('atoll-head', JSON.stringify({size, root})); } catch { /* private mode: nothing to remember with */ }
  }

  window.atollProof = {sha256, hex, rootOf, unhex};
  const box = document.getElementById('proof');
  if (box) checkEntry(box);
  const head = document.getElementById('head');
  if (head) remember(head);
})();
