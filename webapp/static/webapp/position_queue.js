/** Positions that are not sent yet, in IndexedDB: they outlive the page and a phone without a network. */

const STORE = "positions";
const LIMIT = 20_000; // more than a day of sharing; then the oldest are dropped

let opened;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("connect", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE); // by [person, time]
    request.onsuccess = () => {
      request.result.onclose = () => (opened = undefined); // browsers close it in the background
      resolve(request.result);
    };
    request.onerror = () => {
      opened = undefined;
      reject(request.error);
    };
  });
  return opened;
}

/** Runs one transaction; resolves with the result of `work`'s request when everything is durable. */
async function transact(mode, work) {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(STORE, mode);
    const request = work(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

const ofPerson = (id) => IDBKeyRange.bound([id, ""], [id, "\uffff"]);

/** `position` is a ping of the API. */
export async function add(id, position) {
  await transact("readwrite", (store) => store.put(position, [id, position.creation_time]));
  if ((await count(id)) > LIMIT) await remove(await first(id, 1));
}

/** The oldest positions of a person. */
export const first = (id, most) => transact("readonly", (store) => store.getAll(ofPerson(id), most));

export const count = (id) => transact("readonly", (store) => store.count(ofPerson(id)));

export const remove = (positions) =>
  transact("readwrite", (store) => {
    for (const { person_id, creation_time } of positions) store.delete([person_id, creation_time]);
  });

/** Removes the positions of everybody. */
export const clear = () => transact("readwrite", (store) => store.clear());
