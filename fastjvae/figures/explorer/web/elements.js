// Elements of the page, and numbers as text. Names out of data become text nodes, never markup.

const byId = (id) => document.getElementById(id);

/** A new element with properties or attributes, and children: elements and text. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const decimal = (value) => (Math.abs(value) < 0.005 ? 0 : value).toFixed(2).replace("-", "−");
const percent = (share) => `${(100 * share).toFixed(share > 0.0005 && share < 0.0995 ? 1 : 0)} %`;

/** What is known of a variable: its KL, and its effect on the picture. */
function knownOf({ kl, effect }) {
  const known = [];
  if (kl !== null) known.push(`KL ${kl.toFixed(2)} nats`);
  if (effect !== null) known.push(`effect ${percent(effect)}`);
  return known.join(" · ");
}

/** A category as text, such as "3: Ankle boot". */
function categoryText(facts, variable, category) {
  const { name } = facts.variables[variable].categories[category];
  return name === null ? `${category}` : `${category}: ${name}`;
}

/** A variable at a value as text for those who do not see the page. */
function spoken(facts, name, value) {
  if (name[0] === "z") return `${name} ${decimal(value)}`;
  return `${name} category ${categoryText(facts, Number(name.slice(1)), value)}`;
}
