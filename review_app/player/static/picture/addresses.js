// Addresses on the server.

/** An address with query fields added. */
export function withQuery(url, fields) {
  const query = new URLSearchParams(fields).toString();
  return url + (url.includes("?") ? "&" : "?") + query;
}
