// Numbers: unpacking them, and formatting them for readers.

const DATA = JSON.parse(document.getElementById("trace-data").textContent);
const TEXTS = JSON.parse(document.getElementById("trace-texts").textContent);
const SINGLE = DATA.dtype === "float32";

/** Unpack numbers from base64; the lowest byte comes first. */
function floats(text, single = SINGLE) {
  if (text === null) return null;
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return single ? new Float32Array(bytes.buffer) : new Float64Array(bytes.buffer);
}

/** The shortest text that reads back as the same number in the data type of the network. */
function exactly(x) {
  if (!Number.isFinite(x)) return "NaN";
  if (SINGLE && Math.fround(x) === x) {
    for (let digits = 1; digits < 10; digits++) {
      const rounded = Number(x.toPrecision(digits));
      if (Math.fround(rounded) === x) return String(rounded);
    }
  }
  return String(x);
}

/** Six significant digits, without trailing zeros. */
function rounded(x, digits = 6) {
  if (!Number.isFinite(x)) return "NaN";
  const size = Math.abs(x);
  if (x === 0 || (size >= 1e-4 && size < 1e7)) return String(Number(x.toPrecision(digits)));
  return x.toExponential(digits - 1).replace(/\.?0+e/, "e");
}

/** A number as short as a circle requires. */
function brief(x) {
  if (!Number.isFinite(x)) return "?";
  const size = Math.abs(x);
  if (size < 1e-99) return "0";
  if (size >= 0.01 && size < 10) return x.toFixed(2);
  if (size >= 10 && size < 1000) return x.toPrecision(3);
  return x.toExponential(0).replace("e+", "e");
}

/** A minus sign, not a hyphen. */
const signed = (text) => text.replaceAll("-", "−");

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const superscript = (number) => String(number).replace(/\d/g, (digit) => SUPERSCRIPTS[digit]);
