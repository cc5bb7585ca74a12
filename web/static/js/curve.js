// Losses as paths and ticks, as they arrive; `web/pages/loss_plot.py` draws the same, and tests/golden/loss_curve.json holds both.

export const PARTS = ["total", "content", "style"];
/** The drawing in px of its own coordinates, and where in it the curves lie. */
export const BOX = { width: 360, height: 220, left: 44, right: 344, top: 10, bottom: 192 };
const MOST_DECADES = 6;
const COLUMN_PX = 4;
const FEW_POINTS = 150;
const ENOUGH_TICKS = 3;

const isShown = (loss) => Number.isFinite(loss) && loss > 0;

/** The least and the largest loss to show, of points [step, total, content, style]. */
export function lossRange(points) {
  let low = Infinity;
  let high = 0;
  for (const point of points) {
    for (const loss of point.slice(1)) {
      if (!isShown(loss)) continue;
      low = Math.min(low, loss);
      high = Math.max(high, loss);
    }
  }
  if (!high) return [0.1, 1];
  low = Math.max(low, high / 10 ** MOST_DECADES);
  return high / low > 1.5 ? [low, high] : [low / 1.5, high * 1.5];
}

/** A place in px with one digit; rounded as the server does. */
export const px = (place) => (Math.floor(place * 10 + 0.5) / 10).toFixed(1);

export const xOf = (step, steps) => BOX.left + ((BOX.right - BOX.left) * step) / steps;

/** Where a loss lies; null is nowhere. */
export function yOf(loss, [low, high]) {
  if (!isShown(loss)) return null;
  const share = Math.log(Math.max(loss, low) / low) / Math.log(high / low);
  return BOX.bottom - (BOX.bottom - BOX.top) * share;
}

export function stepTicks(steps) {
  const gap = Math.max(1, Math.round(roundGap(steps)));
  return Array.from({ length: Math.floor(steps / gap) + 1 }, (_, place) => place * gap);
}

export function lossTicks([low, high]) {
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const whole = Array.from({ length: last - first + 1 }, (_, place) => 10 ** (first + place));
  for (const ticks of [whole, whole.flatMap((loss) => [loss, 2 * loss, 5 * loss])]) {
    const inside = ticks.filter((loss) => loss >= low && loss <= high);
    if (inside.length >= ENOUGH_TICKS) return inside;
  }
  const gap = roundGap(high - low);
  const begin = Math.ceil(low / gap);
  return Array.from({ length: Math.floor(high / gap) - begin + 1 }, (_, place) => (begin + place) * gap);
}

function roundGap(width) {
  const exponent = Math.floor(Math.log10(width)) - 1;
  const gaps = [0, 1, 2].flatMap((more) => [1, 2, 5].map((digit) => digit * 10 ** (exponent + more)));
  return gaps.find((gap) => width / gap <= 5 + 1e-9);
}

/** A loss in three digits: "0.172", "12.3", "1.20e-5", and "–" for none. */
export function lossWords(loss) {
  if (loss === null || !Number.isFinite(loss)) return "–";
  if (loss === 0) return "0";
  const exponent = Math.floor(Math.log10(Math.abs(loss)));
  if (exponent >= -3 && exponent < 4) return rounded(loss, Math.max(0, 2 - exponent));
  return `${rounded(loss / 10 ** exponent, 2)}e${exponent}`;
}

/** As the server rounds: what lies exactly between two goes to the even one; toFixed lets it grow. */
function rounded(value, digits) {
  const whole = Math.floor(value * 10 ** digits);
  const isBetween = value * 10 ** digits === whole + 0.5 && Number.isInteger(value * 2 ** (digits + 1));
  return isBetween && whole % 2 === 0 ? (whole / 10 ** digits).toFixed(digits) : value.toFixed(digits);
}

export function tickWords(loss) {
  const exponent = Math.floor(Math.log10(loss) + 1e-9);
  if (exponent >= -3 && exponent < 4) return String(Number(loss.toPrecision(4)));
  return `${Number((loss / 10 ** exponent).toPrecision(3))}e${exponent}`;
}

/** The path of one part; `place` is where in a point it stands. */
export function pathOf(points, place, steps, range) {
  let joined = false;
  let path = "";
  for (const [x, y] of thin(points.map((point) => [xOf(point[0], steps), yOf(point[place], range)]))) {
    if (y !== null) path += `${joined ? "L" : "M"}${px(x)} ${px(y)}`;
    joined = y !== null;
  }
  return path;
}

/** Of very many points, the lowest and the highest of each 4 px. */
function thin(places) {
  if (places.length <= FEW_POINTS) return places;
  const columns = new Map();
  for (const place of places) {
    if (place[1] === null) continue;
    const column = Math.floor(place[0] / COLUMN_PX);
    const [low, high] = columns.get(column) ?? [place, place];
    columns.set(column, [place[1] < low[1] ? place : low, place[1] > high[1] ? place : high]);
  }
  return [...columns.values()].flatMap(([low, high]) => (low === high ? [low] : [low, high].sort((a, b) => a[0] - b[0])));
}
