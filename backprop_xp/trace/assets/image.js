// Inputs that are an image: the image itself, and a map of the weights from it to one neuron.

/** An image of squares that can be pointed at; `side` is the length of its longer edge. */
function makeGrid(x, y, side, className) {
  const [height, width] = IMAGE;
  const cell = side / Math.max(height, width);
  const squares = SHOWN[0].map((_, place) =>
    svg("rect", {
      x: x + (place % width) * cell,
      y: y + Math.floor(place / width) * cell,
      width: cell,
      height: cell,
    }),
  );
  const frame = { x: x - 0.5, y: y - 0.5, width: width * cell + 1, height: height * cell + 1 };
  const cursor = svg("rect", { class: "cursor", width: cell, height: cell, visibility: "hidden" });
  const group = svg(
    "g",
    { class: className },
    svg("rect", { class: "paper", ...frame }),
    squares,
    svg("rect", { class: "frame", ...frame }),
    cursor,
  );
  const at = (pointX, pointY) => {
    const column = Math.floor((pointX - x) / cell);
    const row = Math.floor((pointY - y) / cell);
    const inside = column >= 0 && column < width && row >= 0 && row < height;
    return inside ? row * width + column : null;
  };
  const centre = (place) => [
    x + ((place % width) + 0.5) * cell,
    y + (Math.floor(place / width) + 0.5) * cell,
  ];
  const pointAt = (place) => {
    const [cx, cy] = place === null ? [0, 0] : centre(place);
    cursor.setAttribute("x", cx - cell / 2);
    cursor.setAttribute("y", cy - cell / 2);
    cursor.setAttribute("visibility", place === null ? "hidden" : "visible");
  };
  return { group, squares, at, centre, pointAt, width: width * cell, height: height * cell, x, y };
}

/** The inputs as an image: the larger, the darker. */
function paintImage(grid) {
  const { input } = current();
  const low = input.reduce((least, value) => Math.min(least, value), Infinity);
  const high = input.reduce((most, value) => Math.max(most, value), -Infinity);
  grid.squares.forEach((square, place) => {
    square.style.opacity = high > low ? (input[place] - low) / (high - low) : 0;
  });
}

/** The weights from each pixel to one neuron of the first layer, in two colors. */
function paintMap(grid, j, quantity) {
  const values = SHOWN[0].map((_, k) => lineValue(quantity, 1, j, k));
  const most = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) || 1;
  grid.squares.forEach((square, place) => {
    square.setAttribute("class", values[place] < 0 ? "negative" : "positive");
    square.style.opacity = Math.abs(values[place]) / most;
  });
}

/** The pixel that an arrow key moves to; the edge of the image stops it. */
function neighbour(place, key) {
  const [height, width] = IMAGE;
  const row = Math.floor(place / width);
  const column = place % width;
  const within = (value, limit) => Math.min(Math.max(value, 0), limit - 1);
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const [down, right] = moves[key];
  return within(row + down, height) * width + within(column + right, width);
}
