// What the pages of this server share: elements made, names shown, and what the server says of a refusal.
//
// Names and texts come from documents that nobody checked: they are only ever set as text, never as HTML.

export const KIND_NAMES = { page: "page", image: "image", video: "video", text: "text", mixed: "item" };

export const find = (id) => document.getElementById(id);

export function make(name, { className = "", text = null, ...attributes } = {}, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== null) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A name without what cannot be seen: marks that turn the direction of writing make `gpj.exe` of `exe.jpg`. */
export function showName(source) {
  return source.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "\ufffd");
}

export function splitName(source) {
  const shown = showName(source);
  const at = shown.lastIndexOf("/");
  return [shown.slice(at + 1), at < 0 ? "" : shown.slice(0, at)];
}

export function describePlace(hit) {
  if (hit.place) return hit.place;
  return hit.media_type === "video" ? "whole video" : "";
}

export class ServerError extends Error {}

export async function readReason(response) {
  try {
    const body = await response.json();
    if (typeof body.error?.message === "string") return body.error.message;
    if (typeof body.detail === "string") return body.detail;
    if (Array.isArray(body.detail)) return body.detail.map((one) => `${one.loc?.at(-1)}: ${one.msg}`).join("; ");
  } catch {
    // Something between us and the server answered in its own words.
  }
  return `The server answered with status ${response.status}.`;
}
