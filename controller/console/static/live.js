// Puts live regions into the page, opens the hold sheet, and says so when the stream is lost.
(() => {
  const script = document.currentScript;
  let lostTimer = 0;

  function put(regions) {
    document.documentElement.dataset.live = 'open';
    clearTimeout(lostTimer);
    for (const [id, html] of Object.entries(regions)) {
      const target = document.getElementById(id);
      if (!target || target.contains(document.activeElement) && document.activeElement.matches('input,textarea')) continue;
      htmx.swap({text: html, target, sourceElement: target, swap: 'innerMorph'});
    }
  }

  function take(message) {
    if (message.regions) put(message.regions);
    else if (message.state === 'open') { clearTimeout(lostTimer); document.documentElement.dataset.live = 'open'; }
    else { clearTimeout(lostTimer); lostTimer = setTimeout(() => { document.documentElement.dataset.live = 'lost'; }, 5000); }
  }

  function listenHere() {
    let stream = null;
    const open = () => {
      stream = new EventSource('/live');
      stream.addEventListener('now', (event) => take({regions: JSON.parse(event.data)}));
      stream.onerror = () => {
        take({state: 'lost'});
        if (stream.readyState === 2) setTimeout(open, 5000 + Math.random() * 10000);
      };
    };
    open();
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) stream.close(); else if (stream.readyState === 2) open();
    });
  }

  function listen() {
    if (!('SharedWorker' in window)) return listenHere();
    const worker = new SharedWorker(script.dataset.worker, {name: 'atoll-' + script.dataset.role});
    worker.port.onmessage = (event) => take(event.data);
    worker.port.start();
    addEventListener('pagehide', () => worker.port.postMessage('bye'));
  }

  document.addEventListener('htmx:after:swap', () => {
    const body = document.getElementById('sheet-body');
    const sheet = document.getElementById('sheet');
    if (body && body.firstElementChild && sheet && !sheet.open && body.dataset.asked) { sheet.showModal(); body.querySelector('input:not([type=hidden])')?.focus(); }
  });
  document.addEventListener('click', (event) => {
    const link = event.target.closest('[data-sheet]');
    const body = document.getElementById('sheet-body');
    if (link && body) { body.replaceChildren(); body.dataset.asked = '1'; }
    const sheet = document.getElementById('sheet');
    if (sheet && event.target === sheet) sheet.close();
  });
  document.getElementById('sheet')?.addEventListener('close', () => { delete document.getElementById('sheet-body').dataset.asked; });
  addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
  if (!('off' in script.dataset)) listen();
})();
