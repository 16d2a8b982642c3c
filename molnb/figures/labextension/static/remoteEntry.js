// A prebuilt JupyterLab extension, written by hand: it loads the copy of 3Dmol.js beside itself when JupyterLab starts.
// py3Dmol looks for window.$3Dmolpromise before it would load anything from the network, and then uses this one.
// The address is taken from this script's own, so it is right under any base_url.
(() => {
  const folder = document.currentScript.src.replace(/remoteEntry\.[^/]*$/, '');
  const load = () => new Promise((resolve, reject) => {
    const tag = document.createElement('script');
    tag.src = folder + '3Dmol-min.js';
    tag.onload = resolve;
    tag.onerror = () => reject(new Error('molnb: cannot load ' + tag.src));
    document.head.appendChild(tag);
  });
  const plugin = {
    id: 'molnb-3dmol:plugin',
    autoStart: true,
    activate: () => { window.$3Dmolpromise = window.$3Dmolpromise || load(); },
  };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB['molnb-3dmol'] = { init: () => {}, get: async () => () => ({ default: plugin, __esModule: true }) };
})();
