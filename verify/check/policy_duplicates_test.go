package check

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The first of two conditions of the same name must not be lost.
func TestPolicy_RefusesNamesThatOccurTwice(t *testing.T) {
	t.Parallel()
	const ours = `{"aws:PrincipalAccount":"764265373335"}`
	for name, c := range map[string]string{
		"operator":      `"StringLike":{"aws:PrincipalAccount":"*"},"StringLike":` + ours,
		"condition key": `"StringLike":{"aws:PrincipalAccount":"*","aws:PrincipalAccount":"764265373335"}`,
	} {
		_, err := parsePolicy(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{` + c + `}}}`)
		require.ErrorContains(t, err, "occurs twice", name)
	}
	_, err := parsePolicy(`{"Statement":{"Effect":"Allow","Principal":{"AWS":"*","AWS":"764265373335"},"Action":"kms:*","Resource":"*"}}`)
	require.ErrorContains(t, err, "the element AWS occurs twice")
}
