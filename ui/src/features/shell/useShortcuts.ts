import { useRouter } from "next/navigation";
import { useEffect, useEffectEvent, useRef } from "react";
import { allDestinations } from "./navigation";

const chordPatience = 1_200;

/** Ctrl or Cmd K opens the palette, ? the help, / a list's search, g and a letter a page. Silent while somebody types. */
export function useShortcuts({ onPalette, onHelp }: { onPalette: () => void; onHelp: () => void }) {
  const router = useRouter();
  const chord = useRef(0);
  const handle = useEffectEvent((event: KeyboardEvent) => {
    if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      return onPalette();
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (event.key === "?") return onHelp();
    if (event.key === "/") return findIn(event);
    const inChord = Date.now() - chord.current < chordPatience;
    chord.current = event.key === "g" && !inChord ? Date.now() : 0;
    const destination = inChord && allDestinations.find(({ key }) => key === event.key);
    if (destination) router.push(destination.href);
  });
  useEffect(() => {
    document.addEventListener("keydown", handle);
    return () => document.removeEventListener("keydown", handle);
  }, []);
}

/** Goes to the search of the list that is in sight. */
function findIn(event: KeyboardEvent) {
  const box = document.querySelector<HTMLInputElement>("main input[type=search]");
  if (!box) return;
  event.preventDefault();
  box.focus();
  box.select();
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}
