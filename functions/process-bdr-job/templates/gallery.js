'use strict';
(() => {
  const get = (id) => document.getElementById(id);
  const make = (name, text, more) => {
    const element = Object.assign(document.createElement(name), more);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const list = get('artworks'), viewer = get('viewer'), stage = get('stage'), search = get('search'), sort = get('sort');
  const details = JSON.parse(get('data').textContent);
  const items = Array.from(list.children, (element, index) => {
    const link = element.firstElementChild, picture = link.querySelector('img');
    const title = link.querySelector('b').textContent;
    const tags = (details[index].hashtags || []).map((tag) => tag.toLowerCase());
    const text = [title.toLowerCase(), ...tags.map((tag) => '#' + tag)].join('\n');
    return { ...details[index], index, element, link, picture, title, tags, text };
  });
  let shown = items, current = null, tag = null;

  // One pixel of the picture covers a whole number of the screen's pixels.
  const fit = (picture, width, height) => {
    const ratio = window.devicePixelRatio || 1, { naturalWidth: w, naturalHeight: h } = picture;
    if (!w || !h || width <= 0 || height <= 0) return;
    const scale = Math.min(width * ratio / w, height * ratio / h);
    const whole = scale >= 1 ? Math.floor(scale) : 1 / Math.ceil(1 / scale);
    picture.style.width = w * whole / ratio + 'px';
    picture.style.height = h * whole / ratio + 'px';
    picture.classList.toggle('smooth', whole < 1);
  };
  // All tiles have the same size; reading it for each would make the browser lay out the page each time.
  let tile = 0;
  const fitTiles = (pictures) => {
    const mat = list.querySelector('.mat');
    tile = mat ? mat.clientWidth - 16 : tile;
    for (const picture of pictures) fit(picture, tile, tile);
  };
  const fitStage = () => {
    const picture = stage.querySelector('img');
    const style = getComputedStyle(stage), padding = 2 * parseFloat(style.paddingTop);
    if (picture) fit(picture, stage.clientWidth - padding, stage.clientHeight - padding);
  };
  const broken = (picture) => {
    picture.replaceWith(make('span', picture.src.split('.').pop(), { className: 'file' }));
  };
  list.addEventListener('load', (event) => fit(event.target, tile, tile), true);
  list.addEventListener('error', (event) => broken(event.target), true);
  fitTiles(list.querySelectorAll('img'));
  window.addEventListener('resize', () => {
    fitTiles(items.map((item) => item.picture).filter(Boolean));
    fitStage();
  });

  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });
  const byDate = (a, b) => (a.created ?? -Infinity) - (b.created ?? -Infinity) || a.index - b.index;
  const orders = {
    '': (a, b) => a.index - b.index,
    new: (a, b) => byDate(b, a),
    old: byDate,
    title: (a, b) => collator.compare(a.title, b.title) || a.index - b.index,
  };
  const arrange = () => {
    const wanted = search.value.trim().toLowerCase();
    shown = items.filter((item) => (!tag || item.tags.includes(tag)) && item.text.includes(wanted)).sort(orders[sort.value]);
    list.replaceChildren(...shown.map((item) => item.element));
    const all = shown.length === items.length;
    get('found').textContent = all ? '' : shown.length ? `${shown.length} of ${items.length}` : 'Nothing matches.';
    for (const button of get('tags').children) button.setAttribute('aria-pressed', button.dataset.tag === tag);
  };

  const counts = new Map();
  for (const item of items) {
    for (const name of new Set(item.tags)) counts.set(name, (counts.get(name) || 0) + 1);
  }
  const choose = (name) => {
    tag = tag === name ? null : name;
    arrange();
  };
  const frequent = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 40);
  for (const [name, count] of frequent) {
    const button = make('button', '#' + name, { type: 'button' });
    button.dataset.tag = name;
    button.append(make('i', count));
    button.addEventListener('click', () => choose(name));
    get('tags').append(button);
  }
  get('tags').hidden = !frequent.length;
  search.addEventListener('input', arrange);
  sort.addEventListener('change', arrange);
  get('bar').hidden = false;

  const day = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeZone: 'UTC' });
  const date = (created) => created === undefined ? '' : day.format(new Date(created));
  const bytes = (count) => count < 1000 ? `${count} bytes` : count < 1e6 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(1)} MB`;
  const outside = (url, text) => /^https?:\/\//i.test(url) ? make('a', text, { href: url, target: '_blank', rel: 'noopener noreferrer' }) : text;
  const show = (item) => {
    current = item;
    const file = item.link.getAttribute('href'), place = shown.indexOf(item);
    let media;
    if (item.video) {
      media = make('video', undefined, { controls: true, loop: true, muted: true, autoplay: true, src: file });
    } else if (item.picture) {
      media = make('img', undefined, { alt: item.title, src: file });
      media.addEventListener('load', fitStage);
    } else {
      media = make('a', file.split('.').pop(), { className: 'file', href: file });
    }
    stage.replaceChildren(media);
    get('place').textContent = `${place + 1} of ${shown.length}`;
    get('title').textContent = item.title;
    get('description').textContent = item.description || '';
    get('hashtags').replaceChildren(...(item.hashtags || []).map((name) => {
      const button = make('button', '#' + name, { type: 'button' });
      button.addEventListener('click', () => {
        viewer.close();
        tag = null;
        choose(name.toLowerCase());
      });
      return button;
    }));
    const facts = [
      ['Size', item.size && `${item.size.join(' × ')} pixels`],
      ['Frames', item.frames],
      ['Date', date(item.created)],
      ['File', make('a', file.split('/').pop() + (item.bytes === undefined ? '' : `, ${bytes(item.bytes)}`), { href: file, target: '_blank' })],
      ['License', item.license && outside(item.license, item.license)],
      ['Page', item.source && outside(item.source, item.source)],
    ];
    get('details').replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value]) => {
      const cell = make('dd');
      cell.append(value);
      return [make('dt', name), cell];
    }));
    get('reactions').replaceChildren(...(item.reactions || []).map(([emoji, count]) => {
      const reaction = make('span', emoji);
      reaction.append(make('i', count));
      return reaction;
    }));
    const comments = (item.comments || []).map(({ author, body, created }) => {
      const entry = make('li'), head = make('div');
      head.append(make('b', author, { dir: 'auto' }), ' ', make('small', date(created)));
      entry.append(head, make('p', body, { dir: 'auto' }));
      return entry;
    });
    if (item.more) comments.push(make('li', `${item.more} more in comments.json`));
    get('comments').replaceChildren(...comments);
    if (!viewer.open) viewer.showModal();
    viewer.querySelector('.about').scrollTop = 0;
    if (media.complete) fitStage();
  };
  const step = (by) => {
    const next = shown[shown.indexOf(current) + by];
    if (next) show(next);
  };
  list.addEventListener('click', (event) => {
    const link = event.target.closest('a');
    // Safari before 15.4 has no dialogs: the link opens the file.
    if (!link || !viewer.showModal || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(items.find((item) => item.link === link));
  });
  get('previous').addEventListener('click', () => step(-1));
  get('next').addEventListener('click', () => step(1));
  get('close').addEventListener('click', () => viewer.close());
  stage.addEventListener('click', (event) => {
    if (event.target === stage) viewer.close();
  });
  viewer.addEventListener('close', () => {
    stage.replaceChildren();
    if (current) current.link.focus();
    current = null;
  });
  document.addEventListener('keydown', (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const across = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (viewer.open) {
      if (across && event.target.tagName !== 'VIDEO') step(across);
      return;
    }
    const at = shown.findIndex((item) => item.link === document.activeElement);
    if (at < 0) return;
    const top = shown[0].element.offsetTop;
    const other = shown.findIndex((item) => item.element.offsetTop !== top);
    const columns = other < 0 ? shown.length : other;
    const target = shown[at + (across || { ArrowUp: -columns, ArrowDown: columns }[event.key])];
    if (!target) return;
    event.preventDefault();
    target.link.focus();
  });
})();
