// Turns the drawing inside `root` into a view that can be turned, where 3Dmol.js is there; returns what can be set.
// spec: layers (symbols, bonds, frames, colours, look), captions, labels, lines, hydrogens, controls.
function molnbScene(root, spec) {
  const state = { frame: 0, hydrogens: spec.hydrogens, ghosts: true, labels: true };
  const box = root.querySelector('.molnb-view');
  let viewer = null, models = [], timer = null, slider = null;

  const at = (frame, i) => ({ x: frame[3 * i], y: frame[3 * i + 1], z: frame[3 * i + 2] });
  const atoms = (layer, frame) => layer.symbols.map((elem, i) => ({ elem, index: i, serial: i, ...at(frame, i), bonds: [], bondOrder: [] }));
  function add(layer, frame) {
    const list = atoms(layer, frame);
    for (const [i, j, order] of layer.bonds) {
      list[i].bonds.push(j); list[i].bondOrder.push(order);
      list[j].bonds.push(i); list[j].bondOrder.push(order);
    }
    const model = viewer.addModel();
    model.addAtoms(list);
    models.push({ layer, model });
  }
  const looks = {
    ball: (f) => ({ stick: { radius: 0.11, colorfunc: f }, sphere: { scale: 0.23, colorfunc: f } }),
    stick: (f) => ({ stick: { radius: 0.14, colorfunc: f } }),
    ghost: (f) => ({ stick: { radius: 0.03, singleBonds: true, colorfunc: f } }),
  };
  function style() {
    for (const { layer, model } of models) {
      const ghost = layer.look === 'ghost';
      const hidden = ghost && !state.ghosts;
      model.setStyle({}, hidden ? {} : looks[layer.look]((a) => layer.colours[a.index]));
      if (ghost || !state.hydrogens) model.setStyle({ elem: 'H' }, {});
    }
    viewer.removeAllLabels();
    const first = spec.layers[0], frame = first.frames[Math.min(state.frame, first.frames.length - 1)];
    if (state.labels) (spec.labels || []).forEach((text, i) => {
      if (text && (state.hydrogens || first.symbols[i] !== 'H')) viewer.addLabel(text, {
        position: at(frame, i), fontSize: 13, bold: true, fontColor: 'black', backgroundColor: 'white', backgroundOpacity: 0.8, padding: 1,
        inFront: true, alignment: 'bottomCenter', screenOffset: { x: 0, y: 9 } });
    });
    viewer.render();
  }
  function show(number) {
    state.frame = number;
    if (slider) slider.value = number;
    const caption = root.querySelector('.molnb-caption');
    if (caption && spec.captions.length) caption.textContent = spec.captions[number];
    if (!viewer) return;
    for (const { layer, model } of models) {
      if (layer.look === 'ghost' || layer.frames.length < 2) continue;
      model.selectedAtoms({}).forEach((a) => Object.assign(a, at(layer.frames[number], a.index)));
    }
    style();
    root.dataset.frame = number;
  }
  function set(name, value) { state[name] = value; if (viewer) style(); }

  function tick(name, text) {
    const label = document.createElement('label'), box = document.createElement('input');
    box.type = 'checkbox'; box.checked = state[name];
    box.onchange = () => set(name, box.checked);
    label.append(box, ' ' + text);
    return label;
  }
  function controls() {
    const bar = root.querySelector('.molnb-controls'), frames = Math.max(...spec.layers.map((l) => (l.look === 'ghost' ? 1 : l.frames.length)));
    bar.replaceChildren();
    if (frames > 1 && spec.slider) {
      slider = document.createElement('input');
      Object.assign(slider, { type: 'range', min: 0, max: frames - 1, value: state.frame });
      slider.setAttribute('aria-label', 'conformer');
      slider.style.width = '240px';
      slider.oninput = () => show(Number(slider.value));
      const play = document.createElement('button');
      play.textContent = 'play';
      play.onclick = () => {
        if (timer) { clearInterval(timer); timer = null; } else timer = setInterval(() => (root.isConnected ? show((state.frame + 1) % frames) : clearInterval(timer)), 500);
        play.textContent = timer ? 'pause' : 'play';
      };
      bar.append(slider, play);
    }
    if (spec.layers.some((l) => l.look !== 'ghost' && l.symbols.includes('H'))) bar.append(tick('hydrogens', 'hydrogens'));
    if (spec.layers.some((l) => l.look === 'ghost')) bar.append(tick('ghosts', 'all others, thin'));
    if ((spec.labels || []).length) bar.append(tick('labels', 'numbers'));
  }
  function start() {
    const drawn = [...box.childNodes];
    try {
      viewer = $3Dmol.createViewer(box, { backgroundColor: 'white', antialias: true });
      for (const layer of spec.layers) for (const frame of layer.look === 'ghost' ? layer.frames : [layer.frames[0]]) add(layer, frame);
      for (const [start, end] of spec.lines || []) viewer.addCylinder({ start: at(start, 0), end: at(end, 0), radius: 0.035, color: '#D55E00', fromCap: 1, toCap: 1 });
      show(state.frame);
      viewer.zoomTo();
      viewer.zoom(1.15);
      viewer.render();
    } catch (error) { // no WebGL: the drawing stays
      viewer = null;
      box.replaceChildren(...drawn);
      return;
    }
    drawn.forEach((node) => node.remove());
    root.querySelector('.molnb-why')?.remove();
    if (spec.controls) controls();
    root.dataset.drawn = '3d';
  }
  // Not before it is looked at: a browser keeps about 16 such views alive in a page.
  const seen = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    seen.disconnect();
    Promise.resolve(window.$3Dmolpromise).then(() => { if (window.$3Dmol) start(); }, () => {});
  }, { rootMargin: '300px' });
  seen.observe(root);
  return { show, set };
}
