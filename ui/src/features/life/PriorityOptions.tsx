/** The choices of a training's priority. */
export function PriorityOptions() {
  return (
    <>
      <option value="high">High: before the others</option>
      <option value="normal">Normal</option>
      <option value="low">Low: after the others</option>
    </>
  );
}
