"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const theme = byId("theme");
  theme.setAttribute("aria-pressed", String(dark()));
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    theme.setAttribute("aria-pressed", String(dark()));
  });
  const source = byId("gallery-data");
  if (!source) return;

  const PAGE = 48;
  const data = JSON.parse(source.textContent);
  const field = Object.fromEntries(
    ["model", "group", "decision", "looks", "epg-low", "epg-high", "order"].map((id) => [id, byId(id)]));
  const cards = byId("cards"), count = byId("count"), more = byId("more"), detail = byId("detail");
  let shown = [], drawn = 0, open = -1;

  // Nothing of the data is ever read as markup: texts go in as text, and sources of images are made of base64 alone.
  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const uri = (kind, text) => `data:image/${kind};base64,${text.replace(/[^A-Za-z0-9+/=]/g, "")}`;
  const percent = (value) => `${(100 * value).toFixed(0)} %`;
  const option = (value, text) => { const made = make("option", "", text); made.value = value; return made; };

  data.models.forEach((model, number) => field.model.append(option(String(number), model.name)));
  byId("models-field").hidden = data.models.length < 2;

  const model = () => data.models[Number(field.model.value) || 0];
  const set = () => data.sets[model().set];
  const entry = (number, of) => {
    const [id, label, group, image, fore, outline] = data.sets[of.set].pictures[number];
    const [predicted, probability, ofLabel, epg, area, mask] = of.judged[number];
    return { number, id, label, group, image, fore, outline, predicted, probability, ofLabel, epg, area, mask,
      right: predicted === label };
  };
  const nameOf = (each) => {
    const { groups, classes } = set();
    return each.group >= 0 && groups[each.group] !== undefined ? groups[each.group] : classes[each.label];
  };

  const fillGroups = () => {
    const { groups, classes } = set(), before = field.group.value;
    const byGroup = groups.length > 0, names = byGroup ? groups : classes;
    field.group.replaceChildren(option("", "all"));
    names.forEach((name, number) => field.group.append(option(String(number), name)));
    field.group.value = before !== "" && Number(before) < names.length ? before : "";
  };

  const orders = {
    worst: (a, b) => a.right !== b.right ? (a.right ? 1 : -1)
      : a.right ? (a.epg ?? 1) - (b.epg ?? 1) : b.probability - a.probability,
    epg: (a, b) => (a.epg ?? 2) - (b.epg ?? 2),
    unsure: (a, b) => a.probability - b.probability,
    area: (a, b) => (b.area ?? -1) - (a.area ?? -1),
    data: (a, b) => a.number - b.number,
  };
  const within = (each, low, high) => {
    if (low <= 0 && high >= 1) return true;
    return each.epg !== null && each.epg >= low && each.epg <= high;
  };
  const limit = (element, otherwise) => element.value === "" || Number.isNaN(Number(element.value)) ? otherwise : Number(element.value);

  const filter = () => {
    const of = model(), byGroup = set().groups.length > 0;
    const low = limit(field["epg-low"], 0), high = limit(field["epg-high"], 1);
    shown = of.judged.map((_, number) => entry(number, of)).filter((each) =>
      (field.group.value === "" || (byGroup ? each.group : each.label) === Number(field.group.value)) &&
      (field.decision.value === "" || each.right === (field.decision.value === "right")) &&
      (field.looks.value === "" || (each.epg !== null && (each.epg >= 0.5) === (field.looks.value === "on"))) &&
      within(each, low, high));
    shown.sort((a, b) => orders[field.order.value](a, b) || a.number - b.number);
    const right = shown.filter((each) => each.right).length;
    count.textContent = `${shown.length} of ${of.judged.length} images, ${right} right and ${shown.length - right} wrong`;
    cards.replaceChildren();
    drawn = 0;
    draw();
  };

  const facts = (each) => {
    const words = [`predicted ${set().classes[each.predicted]} (${each.right ? "right" : "wrong, is " + set().classes[each.label]}), ${percent(each.probability)}`];
    if (each.epg !== null) words.push(`EPG ${each.epg.toFixed(2)}`);
    if (each.area !== null) words.push(`${model().shows} covers ${percent(each.area)}`);
    return words;
  };

  const stack = (each, of = each) => {
    const made = make("span", "stack");
    const add = (name, kind, text, alt) => {
      if (!text) return;
      const image = make("img", name);
      image.src = uri(kind, text);
      image.alt = alt;
      image.decoding = "async";
      made.append(image);
    };
    const words = facts(each).join("; ");
    add("base", "jpeg", each.image, `Image ${each.id}, ${nameOf(each)}: ${words}`);
    if (of.mask) {
      const lit = make("span", "lit");
      lit.style.backgroundImage = `url(${uri("jpeg", each.image)})`;
      lit.style.webkitMaskImage = lit.style.maskImage = `url(${uri("png", of.mask)})`;
      made.append(lit);
    }
    add("outline", "png", each.outline, "");
    add("mask", "png", of.mask, `${model().shows} of ${each.id}: ${words}`);
    add("fore", "png", each.fore, `Foreground of ${each.id}`);
    if (!of.mask) made.append(make("span", "none no-mask", "no map"));
    if (!each.fore) made.append(make("span", "none no-fore", "no foreground known"));
    return made;
  };

  const card = (each, place) => {
    const made = make("button", "card");
    made.type = "button";
    made.dataset.place = String(place);
    made.dataset.id = each.id;
    const words = make("span", "words");
    words.append(make("span", "group", nameOf(each)));
    words.append(make("span", each.right ? "right" : "wrong", `${each.right ? "✓" : "✗"} ${set().classes[each.predicted]} ${percent(each.probability)}`));
    words.append(make("span", "", each.epg === null ? each.id : `EPG ${each.epg.toFixed(2)}`));
    made.append(stack(each), words);
    made.addEventListener("click", () => show(place));
    return made;
  };

  const draw = () => {
    const part = shown.slice(drawn, drawn + PAGE);
    cards.append(...part.map((each, number) => card(each, drawn + number)));
    drawn += part.length;
    more.hidden = drawn >= shown.length;
    more.textContent = `Show more (${shown.length - drawn} left)`;
  };

  const show = (place) => {
    if (place < 0 || place >= shown.length) return;
    open = place;
    const each = shown[place];
    byId("detail-title").textContent = each.id;
    byId("detail-facts").textContent = `${nameOf(each)}: ${facts(each).join("; ")}; ${place + 1} of ${shown.length}`;
    byId("detail-views").replaceChildren(...["image", "mask", "foreground", "overlay"].map((view) => {
      const figure = make("figure");
      figure.dataset.view = view;
      figure.append(stack(each), make("figcaption", "", view === "mask" ? model().shows : view));
      return figure;
    }));
    const others = data.models.filter((other) => other.set === model().set && other !== model());
    byId("detail-others").replaceChildren();
    if (others.length) {
      const list = make("ul");
      others.forEach((other) => {
        const said = entry(each.number, other);
        const item = make("li", said.right ? "right" : "wrong",
          `${other.name}: ${set().classes[said.predicted]} ${percent(said.probability)}${said.epg === null ? "" : `, EPG ${said.epg.toFixed(2)}`}`);
        list.append(item);
      });
      byId("detail-others").append(make("p", "sub", "What the other models say of this image:"), list);
    }
    byId("previous").disabled = place === 0;
    byId("next").disabled = place === shown.length - 1;
    if (!detail.open) detail.showModal();
  };

  byId("previous").addEventListener("click", () => show(open - 1));
  byId("next").addEventListener("click", () => show(open + 1));
  byId("close").addEventListener("click", () => detail.close());
  detail.addEventListener("click", (event) => { if (event.target === detail) detail.close(); });
  detail.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") { show(open - 1); event.preventDefault(); }
    if (event.key === "ArrowRight") { show(open + 1); event.preventDefault(); }
  });
  detail.addEventListener("close", () => {
    while (open >= drawn) draw();
    const at = cards.children[open];
    if (at) at.focus();
  });
  more.addEventListener("click", () => {
    const first = drawn;
    draw();
    if (cards.children[first]) cards.children[first].focus();
  });
  byId("filters").addEventListener("input", (event) => {
    if (event.target.name === "view") cards.dataset.view = event.target.value;
    else {
      if (event.target === field.model) fillGroups();
      filter();
    }
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", () => {
    const kept = field.model.value;
    byId("filters").reset();
    field.model.value = kept;
    cards.dataset.view = "overlay";
    filter();
  });
  fillGroups();
  filter();
})();
