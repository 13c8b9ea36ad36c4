// Replaces the server's line pictures by uPlot ones with a cursor shared over all charts.
(() => {
  const box = document.getElementById('timeline');
  if (!box || typeof uPlot === 'undefined') return;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const sync = uPlot.sync('plan');
  let charts = [];

  function unitOf(unit, values) {
    if (unit === 'W') return {scale: 1000, label: 'kW', digits: 1};
    if (unit === 'fraction') return {scale: 0.01, label: '%', digits: 0};
    return {scale: 1, label: unit, digits: 2};
  }

  function draw(plan) {
    charts.forEach((chart) => chart.destroy());
    charts = [];
    const gutter = parseInt(css('--gutter'), 10) || 88;
    const times = plan.times_ms.map((ms) => ms / 1000);
    const date = (seconds) => uPlot.tzDate(new Date(seconds * 1e3), box.dataset.tz);
    const clock = (seconds) => { const d = date(seconds); return String(d.getHours()).padStart(2, '0') + ':' + String(d.getMinutes()).padStart(2, '0'); };
    const ticks = (all, every) => all.filter((s) => { const d = date(s); const last = all[all.length - 1]; return d.getMinutes() === 0 && d.getHours() % every === 0 && s < last - (last - all[0]) / 40; });
    for (const place of box.querySelectorAll('[data-unit]')) {
      const series = plan.series.filter((one) => one.unit === place.dataset.unit);
      const unit = unitOf(place.dataset.unit);
      const tones = [...place.closest('figure').querySelectorAll('[data-tone]')].map((e) => e.dataset.tone);
      const lines = series.map((one, i) => ({
        label: one.name, stroke: css('--s' + tones[i]), width: one.kind === 'actual' ? 2.5 : one.kind === 'band' ? 0.8 : 1.8,
        dash: one.kind === 'forecast' ? [6, 4] : one.kind === 'plan' ? [2, 3] : undefined, points: {show: false},
      }));
      const axis = {stroke: css('--dim'), grid: {stroke: css('--line'), width: 1}, ticks: {show: false}, font: '12px system-ui, sans-serif'};
      const options = {
        width: place.clientWidth, height: 230, padding: [8, 0, 0, 0],
        cursor: {sync: {key: sync.key}, drag: {setScale: false}, points: {size: 6}},
        legend: {show: false},
        tzDate: date,
        scales: {x: {time: true, range: [times[0], times[times.length - 1]]}},
        axes: [
          {...axis, size: 30, splits: () => ticks(times, place.clientWidth < 500 ? 6 : 3), values: (_, at) => at.map(clock)},
          {...axis, size: gutter, values: (_, ticks) => ticks.map((v) => +v.toFixed(2) + ' ' + unit.label)},
        ],
        series: [{}, ...lines],
        hooks: {setCursor: [(u) => tell(place, u, unit, clock)], draw: [(u) => {
          const x = u.valToPos(plan.at_ms / 1000, 'x', true);
          u.ctx.save(); u.ctx.strokeStyle = css('--ink'); u.ctx.lineWidth = devicePixelRatio; u.ctx.beginPath();
          u.ctx.moveTo(x, u.bbox.top); u.ctx.lineTo(x, u.bbox.top + u.bbox.height); u.ctx.stroke(); u.ctx.restore();
        }]},
      };
      place.classList.add('drawn');
      charts.push(new uPlot(options, [times, ...series.map((one) => one.values.map((v) => v == null ? null : v / unit.scale))], place));
    }
    box.dataset.drawn = '1';
  }

  // The values under the cursor, beside their names in the legend.
  function tell(place, chart, unit, clock) {
    const figure = place.closest('figure');
    const at = chart.cursor.idx;
    figure.querySelector('[data-time]').textContent = at == null ? '' : 'at ' + clock(chart.data[0][at]);
    figure.querySelectorAll('[data-line]').forEach((out, i) => {
      const value = at == null ? null : chart.data[i + 1][at];
      out.textContent = value == null ? '' : value.toFixed(unit.digits) + ' ' + unit.label;
    });
  }

  let plan = null;
  async function load() {
    try {
      const answer = await fetch(box.dataset.plan, {headers: {Accept: 'application/json'}});
      if (!answer.ok) return;
      plan = await answer.json();
      if (plan.times_ms.length > 1) draw(plan);
    } catch { /* the server's picture stays */ }
  }
  let resizing = 0;
  addEventListener('resize', () => { clearTimeout(resizing); resizing = setTimeout(() => plan && plan.times_ms.length > 1 && draw(plan), 150); });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => plan && draw(plan));
  load();
  setInterval(() => { if (!document.hidden) load(); }, 30000);
})();
