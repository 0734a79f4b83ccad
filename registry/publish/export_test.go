package publish

// Kept is what a Keeper knows, nil when it knows nothing.
func (k *Keeper) Kept() any {
	if k.kept == nil {
		return nil
	}
	return k.kept
}
